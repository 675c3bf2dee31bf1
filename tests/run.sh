#!/bin/bash
# All tests of the workspace: installs tools, builds the programs under test, runs, sums up.
# The last line is "N passed, N failed"; the exit code is non-zero on any failure.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
export PATH="$PATH:$HOME/.cargo/bin:/usr/sbin:/sbin"
target=${CARGO_TARGET_DIR:-target}

tests/install-tools.sh test || exit 1

# The namespaces need root. Only the test programs get it, so that the build's files stay the user's
# own.
root=()
if [ "$(id -u)" != 0 ]; then
    if sudo -n true 2>/dev/null; then
        triple=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
        export "CARGO_TARGET_${triple}_RUNNER=sudo -n -E"
        root=(sudo -n)
    else
        echo "These tests need root, or sudo without a password, to make network namespaces."
        [ "${CI:-}" = true ] || echo "Without it they are skipped, each with a line that says so."
    fi
fi

mkdir -p "$target"
# The client without what only Linux has. First, so that the programs which the other tests run are
# the whole ones.
cargo test --package spa-client --no-default-features --no-fail-fast </dev/null 2>&1 |
    tee "$target/test-output.txt"
portable=${PIPESTATUS[0]}

cargo build --workspace --bins </dev/null || { echo "the programs do not build"; exit 1; }
# The programs once more, with counters: for tests/tests/call_chain.rs, which says what is missing
# where this fails.
RUSTC_WORKSPACE_WRAPPER=$PWD/tests/instrument.sh cargo build --target-dir "$target/coverage" \
    --package spa-keys --package spa-client --package spa-server --bins </dev/null
# Most tests wait for kernels and clocks, not for processors.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-8}"
cargo test --workspace --no-fail-fast </dev/null 2>&1 | tee "$target/test-whole.txt"
status=${PIPESTATUS[0]}
cat "$target/test-whole.txt" >>"$target/test-output.txt"
alone=
if [ "$status" != 0 ] &&
    tests/again.sh "$target/test-whole.txt" | tee "$target/test-again.txt"; then
    status=0
    alone=$(tail -n 1 "$target/test-again.txt")
fi
[ "$status" != 0 ] || status=$portable

# One test needs VLAN devices, which not every kernel has: where they are missing it stays "ignored"
# in the output.
vlan='ip link add veth0 type veth peer name veth1 &&
    ip link add link veth0 name tagged type vlan id 5'
if "${root[@]}" unshare --net sh -c "$vlan" 2>/dev/null; then
    cargo test --package spa-server --test capture -- --ignored </dev/null 2>&1 |
        tee -a "$target/test-output.txt"
    [ "${PIPESTATUS[0]}" = 0 ] || status=1
fi

{
    grep '^test result:' "$target/test-output.txt"
    awk -v status="$status" -v alone="$alone" '
        /SKIPPED / { skipped++ }
        /^test result:/ {
            for (i = 2; i <= NF; i++) {
                if ($i == "passed;") passed += $(i-1)
                if ($i == "failed;") failed += $(i-1)
            }
        }
        END {
            if (alone) { passed += failed; failed = 0; print alone }
            # A program that does not compile or is killed leaves no result of its own.
            if (status != 0 && !failed) {
                failed = 1
                print "a test program ended without a result, see above"
            }
            if (skipped) print skipped " of those that passed were skipped, see above"
            printf "%d passed, %d failed\n", passed, failed
        }' "$target/test-output.txt"
} | tee "$target/test-summary.txt"
exit "$status"
