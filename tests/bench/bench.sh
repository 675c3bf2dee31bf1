#!/bin/bash
# `make bench`: everything that is measured, in one run on one machine. Figures of different runs or machines do not compare.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "the measurements need root: run \`sudo make bench\`" >&2; exit 1; }
tests/install-tools.sh bench
cargo build --release --workspace --bins
cargo build --release --package spa-tests --examples
tests/bench/fwknop.sh
