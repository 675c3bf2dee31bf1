#!/bin/bash
# `make bench`: everything that is measured, in one run on one machine. Figures of different runs or
# machines do not compare. With CRITERION=1 also the criterion benches of the protocol crate.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "the measurements need root: run \`sudo make bench\`" >&2; exit 1; }
tests/install-tools.sh bench
cargo build --release --workspace --bins
cargo build --release --package spa-tests --package spa-server --examples
release=${CARGO_TARGET_DIR:-target}/release
echo "# $(uname -sr), $(nproc) processors, $(date -u +%F)"
echo "# engine: strangers, knocks and memory by number of clients"
"$release/examples/engine_bench"
echo "# capture: idle delay and receiver's CPU in a flood"
"$release/examples/capture_bench"
echo "# spa: start of the client to the first TCP connection; knocks through floods"
tests/bench/spa.sh
echo "# fwknop: start of the client to the first TCP connection; knocks through floods"
tests/bench/fwknop.sh
echo "# spa: knocks while the configuration is read anew, by number of clients; ten thousand" \
    "reloads"
"$release/examples/reload_delay"
cargo test --release --package spa-tests --test scenarios -- \
    --ignored --nocapture ten_thousand_reloads
echo "# spa: a client's knocks under each attack, and how much longer they take than without"
SPA_ATTACK_SECONDS=${ATTACK_SECONDS:-15} cargo test --release --package spa-tests --test attack -- \
    --nocapture
[ -z "${CRITERION:-}" ] || cargo bench --package spa-proto
