# For the scripts that run inside the booted container, which source it.
set -uo pipefail
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
# The container lays a number of its own over the boot's, which units with a /proc of their own do
# not see; on a real host both are one.
umount /proc/sys/kernel/random/boot_id 2>/dev/null || true
# What the last command of `must` has said.
out=/tmp/out

step() { printf '\n%s\n' "$*"; }
ok() { printf '  ok  %s\n' "$*"; }
fail() {
    printf 'NOT AS PROMISED: %s\n' "$*"
    journalctl --no-pager -o cat -n 40 -u spa-server.service
    systemctl --no-pager status spa-server.service
    exit 1
}
must() { "$@" >"$out" 2>&1 || fail "$*: $(cat "$out")"; }
# until_true SECONDS COMMAND…: asks again until it succeeds.
until_true() {
    local deadline=$((SECONDS + $1 + 1))
    while ! "${@:2}" >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.1
    done
}
