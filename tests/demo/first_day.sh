#!/bin/bash
# Times the lines of docs/first-day.md on two new machines (namespaces with files of their own) with
# the real OpenSSH. Needs root.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PATH:$HOME/.cargo/bin"
tests/install-tools.sh test
[ "$(id -u)" = 0 ] || { echo "needs root, for network namespaces: sudo -E $0" >&2; exit 1; }
cargo build --quiet --workspace --bins
cargo run --quiet --package spa-tests --example first_day
