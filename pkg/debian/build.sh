#!/bin/bash
# Makes the Debian packages spa-client and spa-server of programs that are built already.
#   pkg/debian/build.sh FOLDER OUT     FOLDER has the programs; the packages go to OUT
# SPA_VERSION gives them another version than Cargo.toml, for tests of upgrades. With
# SOURCE_DATE_EPOCH, or in a git checkout, the same programs give the same packages.
set -euo pipefail
cd "$(dirname "$0")/../.."
built=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
version=${SPA_VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/spa-$version
mkdir "$tree"
cp -r Makefile docs pkg "$tree"
mv "$tree/pkg/debian" "$tree/debian"
for package in spa-client spa-server; do
    crates=$package
    [ $package = spa-server ] || crates='spa-client spa-keys'
    # shellcheck disable=SC2086 # a list
    pkg/debian/licences.py $crates >"$tree/debian/third-party-licences"
    mkdir -p "$tree/debian/$package-doc"
    mv "$tree/debian/third-party-licences" "$tree/debian/$package-doc/"
    echo "debian/$package-doc/third-party-licences" >"$tree/debian/$package.docs"
done
cp CHANGELOG.md "$tree/debian/upstream-changelog"
# From here debhelper knows the unit, wherever its version looks for units.
cp pkg/systemd/spa-server.service "$tree/debian/spa-server.service"
{
    printf 'spa (%s-1) unstable; urgency=medium\n\n  * See changelog.gz beside this file.\n\n' \
        "$version"
    printf ' -- %s  %s\n' "$(sed -n 's/^Maintainer: //p' pkg/debian/control)" \
        "$(date --utc --date="@$SOURCE_DATE_EPOCH" '+%a, %d %b %Y %T +0000')"
} >"$tree/debian/changelog"
(cd "$tree" && BUILT=$built dpkg-buildpackage --build=binary --no-sign --no-check-builddeps \
    >"$work/log" 2>&1) || { cat "$work/log" >&2; exit 1; }
mv "$work"/*.deb "$out"
for package in "$out"/spa-*_"$version"-1_*.deb; do
    printf '%s %s\n' "$(stat --format=%s "$package")" "$package"
done
