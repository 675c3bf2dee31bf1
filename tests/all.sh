#!/bin/bash
# Runs every group of tests/groups.txt, also behind one that has failed, and sums up. Takes an hour.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
failed=()
count=0
while read -r name command; do
    case $name in '' | '#'*) continue ;; esac
    echo "== $name: $command"
    count=$((count + 1))
    bash -c "$command" </dev/null || failed+=("$name")
done <tests/groups.txt
echo "$((count - ${#failed[@]})) groups passed, ${#failed[@]} failed${failed:+: ${failed[*]}}"
[ ${#failed[@]} = 0 ]
