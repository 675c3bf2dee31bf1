#!/bin/bash
# `again.sh OUTPUT`: what failed in that output of `cargo test`, once more and alone, which counts
# only if every failed test is found and every one passes. Prints "passed when run alone: NAMES"
# then. A fault of the programs fails twice; a test that lacked time on a busy machine does not stop
# a merge, but it is named, and to be mended.
set -uo pipefail
output=$1
mapfile -t targets < <(
    sed -n '/^error: [0-9]* targets\? failed:$/,/^[^ ]/ s/^    `\(.*\)`$/\1/p' "$output"
)
mapfile -t names < <(
    sed -n '/^failures:$/,/^test result:/ s/^    \([A-Za-z0-9_:]*\)$/\1/p' "$output" | sort -u
)
[ "${#targets[@]}" != 0 ] && [ "${#names[@]}" != 0 ] || exit 1
# More than a handful is no accident, and would take long one by one.
[ "${#names[@]}" -le 5 ] || exit 1
passed=0
for target in "${targets[@]}"; do
    # shellcheck disable=SC2086 # a target is some words: -p PACKAGE --test NAME
    run=$(cargo test $target -- --exact "${names[@]}" --test-threads 1 </dev/null 2>&1)
    status=$?
    printf '%s\n' "$run" | sed 's/^test result:/once more, alone:/'
    [ "$status" = 0 ] || exit 1
    passed=$((passed + $(awk '/^test result: ok/ { n += $4 } END { print n + 0 }' <<<"$run")))
done
[ "$passed" -ge "${#names[@]}" ] || exit 1
echo "passed when run alone: ${names[*]}"
