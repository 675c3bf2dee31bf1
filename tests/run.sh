#!/bin/bash
# All tests of the workspace: installs tools, builds the programs under test, runs, sums up.
# The last line is "N passed, N failed"; the exit code is non-zero on any failure.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
export PATH="$PATH:$HOME/.cargo/bin:/usr/sbin:/sbin"
target=${CARGO_TARGET_DIR:-target}

tests/install-tools.sh test || exit 1

# The namespaces need root. Only the test programs get it, so that the build's files stay the user's own.
if [ "$(id -u)" != 0 ]; then
    if sudo -n true 2>/dev/null; then
        triple=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
        export "CARGO_TARGET_${triple}_RUNNER=sudo -n -E"
    else
        echo "These tests need root, or sudo without a password, to make network namespaces."
        [ "${CI:-}" = true ] || echo "Without it they are skipped, each with a line that says so."
    fi
fi

mkdir -p "$target"
# The client without what only Linux has. First, so that the programs which the other tests run are the whole ones.
cargo test --package spa-client --no-default-features --no-fail-fast </dev/null 2>&1 | tee "$target/test-output.txt"
portable=${PIPESTATUS[0]}

cargo build --workspace --bins </dev/null || { echo "the programs do not build"; exit 1; }
# Most tests wait for kernels and clocks, not for processors.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-8}"
cargo test --workspace --no-fail-fast </dev/null 2>&1 | tee -a "$target/test-output.txt"
status=${PIPESTATUS[0]}
[ "$status" != 0 ] || status=$portable

{
    grep '^test result:' "$target/test-output.txt"
    awk -v status="$status" '
        /SKIPPED / { skipped++ }
        /^test result:/ { for (i = 2; i <= NF; i++) { if ($i == "passed;") passed += $(i-1); if ($i == "failed;") failed += $(i-1) } }
        END {
            # A program that does not compile or is killed leaves no result of its own.
            if (status != 0 && !failed) { failed = 1; print "a test program ended without a result, see above" }
            if (skipped) print skipped " of those that passed were skipped, see above"
            printf "%d passed, %d failed\n", passed, failed
        }' "$target/test-output.txt"
} | tee "$target/test-summary.txt"
exit "$status"
