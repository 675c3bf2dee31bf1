#!/bin/sh
# Fuzzes targets by libFuzzer, with the stable toolchain: coverage is a pass of LLVM that rustc
# names, and our code has no memory that AddressSanitizer would watch.
#   fuzz/run.sh [SECONDS] [TARGET...]     60 s each; every target
# New inputs gather in target/fuzz/corpus; what fails is a file in target/fuzz/artifacts.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
test $# -eq 0 || shift
host=$(rustc -vV | sed -n 's/^host: //p')
out=${SPA_FUZZ_OUT:-$PWD/target/fuzz}
work=${SPA_FUZZ_WORK:-$out}
coverage='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
-Cllvm-args=-sanitizer-coverage-trace-compares'
RUSTFLAGS=$(echo $coverage) cargo build --quiet --package spa-fuzz --features libfuzzer \
    --bin fuzz --profile fuzz --target "$host" --target-dir "$out"
program=$out/$host/fuzz/fuzz
mkdir -p "$work/artifacts"
failed=
for target in ${*:-$(ls fuzz/corpus)}; do
    mkdir -p "$work/corpus/$target"
    log=$work/$target.log
    SPA_FUZZ=$target "$program" "$work/corpus/$target" "fuzz/corpus/$target" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=4096 \
        -artifact_prefix="$work/artifacts/$target-" >"$log" 2>&1 || failed="$failed $target"
    sed -n 's/\tDONE  */ /p' "$log" | sed "s/^/$target: /; s/ lim:.*//"
done
test -z "$failed" || { echo "failed:$failed; see $work"; exit 1; }
