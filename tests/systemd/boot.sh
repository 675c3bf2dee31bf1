#!/bin/bash
# Boots a small Debian in a container, follows pages of the documentation there, and tries the unit
# on its real systemd. `make systemd-test [SUITE=trixie]`.
#   tests/systemd/boot.sh [SUITE [SCRIPT...]]
# SUITE is Debian's name of the release, bookworm (Debian 12) if none is given; the scripts beside
# this one run inside, pages.sh and inside.sh if none are given.
# Nothing of this machine is touched but a folder, which is removed at the end;
# SPA_BOOT_ROOT=FOLDER keeps a Debian that debootstrap made there for the next time. Exit codes: 0
# all as promised, 1 not so, 75 no Debian could be made or booted here.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" LC_ALL=C
[ "$(id -u)" = 0 ] || { echo "needs root: a container is booted" >&2; exit 77; }
for tool in debootstrap systemd-nspawn make; do
    command -v $tool >/dev/null ||
        { echo "$tool is missing: tests/install-tools.sh systemd" >&2; exit 1; }
done

suite=${1:-bookworm}
[ $# = 0 ] || shift
[ $# != 0 ] || set -- pages.sh inside.sh
packages=systemd,systemd-sysv,dbus,nftables,iproute2,procps,netcat-openbsd
packages+=,openssh-server,openssh-client,sudo,make,sensible-utils
folder=$(mktemp -d /var/tmp/spa-systemd.XXXXXX)
booted=
# shellcheck disable=SC2329 # by the trap
clean_up() {
    # The container's own name is not known to anybody here: it ends with its process.
    [ -z "$booted" ] || { kill "$booted" 2>/dev/null; wait "$booted" 2>/dev/null; }
    rm -rf --one-file-system "$folder"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

base=${SPA_BOOT_ROOT:-$folder/base}
if ! [ -x "$base/usr/sbin/sshd" ]; then
    echo "making a Debian ($suite) in $base"
    debootstrap --variant=minbase --include="$packages" "$suite" "$base" \
        >"$folder/debootstrap.log" 2>&1 ||
            { tail -n 20 "$folder/debootstrap.log" >&2; exit 75; }
fi
root=$folder/root
cp -a --reflink=auto "$base" "$root" || exit 1

# The source tree as a reader has it, with programs in the place of those that `make release` makes.
tree=$root/usr/local/lib/spa-test/tree
mkdir -p "$tree/target/release"
tar --create README.md Makefile docs pkg tests/systemd | tar --extract --directory "$tree" || exit 1
for program in spa spa-client spa-server; do
    strip -o "$tree/target/release/$program" "${CARGO_TARGET_DIR:-target}/debug/$program" || exit 1
done
# Packages, where somebody has made them for this.
[ ! -d "${CARGO_TARGET_DIR:-target}/package-test" ] ||
    cp -r "${CARGO_TARGET_DIR:-target}/package-test" "$tree/target/packages" || exit 1
cat >"$root/etc/systemd/system/spa-test.service" <<UNIT
[Unit]
After=multi-user.target
[Service]
Type=oneshot
$(printf 'ExecStart=/usr/local/lib/spa-test/tree/tests/systemd/%s\n' "$@")
ExecStopPost=systemctl --no-block poweroff
StandardOutput=append:/spa-test.out
StandardError=inherit
TimeoutStartSec=400
UNIT
ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -sf ../spa-test.service "$root/etc/systemd/system/multi-user.target.wants/spa-test.service"

# systemd-nspawn has a system call filter of its own, older than landlock; a real host has none.
timeout --kill-after=10 500 systemd-nspawn --quiet --boot --directory="$root" --private-network \
    --register=no --keep-unit \
    --system-call-filter="landlock_create_ruleset landlock_add_rule landlock_restrict_self" \
    --machine="spa-systemd-$$" --console=read-only --kill-signal=SIGRTMIN+3 \
    </dev/null >"$folder/boot.log" 2>&1 &
booted=$!
wait "$booted"
booted=

cat "$root/spa-test.out" 2>/dev/null
if tail -n 1 "$root/spa-test.out" 2>/dev/null | grep -q '^all as promised$'; then exit 0; fi
[ -e "$root/spa-test.out" ] && echo "NOT AS PROMISED; the console's last lines:" >&2 ||
    echo "THE CONTAINER DID NOT BOOT; its last lines:" >&2
tail -n 20 "$folder/boot.log" >&2
[ -e "$root/spa-test.out" ] && exit 1
exit 75
