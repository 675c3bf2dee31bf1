#!/bin/sh
# Five faults, planted in a copy of the sources: each must be found by the target of its name.
#   fuzz/planted.sh [SECONDS]     for each at most; 300
set -eu
cd "$(dirname "$0")/.."
root=$PWD
seconds=${1:-300}
work=$root/target/planted
rm -rf "$work"
mkdir -p "$work/source"
git archive HEAD | tar -x -C "$work/source"
missed=
for patch in fuzz/planted/*.patch; do
    patch --quiet --strip=1 --directory="$work/source" <"$patch"
done
fuzz() { SPA_FUZZ_OUT=$root/target/fuzz SPA_FUZZ_WORK=$work sh "$work/source/fuzz/run.sh" "$@"; }
# One that has no fault, for a second: what is told below is the search, without the build.
fuzz 1 ack >/dev/null
for patch in fuzz/planted/*.patch; do
    target=$(basename "$patch" .patch)
    begun=$(date +%s)
    if fuzz "$seconds" "$target" >"$work/$target.said" 2>&1; then
        missed="$missed $target"
    else
        ls "$work/artifacts/" | grep -q "^$target-" || { cat "$work/$target.said"; exit 1; }
        echo "$target: found after $(($(date +%s) - begun)) s"
    fi
done
test -z "$missed" || { echo "not found:$missed"; exit 1; }
