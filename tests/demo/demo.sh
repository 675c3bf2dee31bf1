#!/bin/bash
# The whole job on this machine: two hosts and a stranger as network namespaces, the real programs,
# the real kernel. Every step checks what it shows and the script ends with a message and code 1
# when something is not as promised. Needs root, or a kernel that allows unprivileged user
# namespaces.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" LC_ALL=C
target=${CARGO_TARGET_DIR:-$here/../../target}
bin=$(cd "$target/debug" 2>/dev/null && pwd) ||
    { echo "nothing is built: run \`make demo\`" >&2; exit 1; }

missing=
for tool in ip nft nmap tcpdump nsenter unshare timeout; do
    command -v $tool >/dev/null || missing="$missing $tool"
done
[ -z "$missing" ] ||
    { echo "missing programs:$missing; tests/install-tools.sh demo installs them" >&2; exit 1; }
for program in spa spa-server spa-client examples/service examples/replay examples/record; do
    [ -x "$bin/$program" ] || { echo "$program is not built: run \`make demo\`" >&2; exit 1; }
done

if [ "${SPA_DEMO_INSIDE:-}" = yes ]; then
    mount -t tmpfs tmpfs /run || { echo "cannot mount a private /run" >&2; exit 1; }
elif [ "$(id -u)" != 0 ]; then
    unshare -Urnm true 2>/dev/null || {
        echo "Not root, and this kernel does not allow unprivileged user namespaces." >&2
        echo "Run it as root, or allow them:" >&2
        echo "sysctl kernel.unprivileged_userns_clone=1 (Debian)," >&2
        echo "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu)," >&2
        echo "user.max_user_namespaces=10000." >&2
        exit 1
    }
    SPA_DEMO_INSIDE=yes exec unshare -Urnm -- "$0"
fi

prefix=spademo-$$
server4=192.0.2.1 server6=2001:db8:1::1
folder=$(mktemp -d)
# shellcheck source=tests/demo/lib.sh
. "$here/lib.sh"

trap clean_up EXIT
trap 'exit 1' INT TERM

mkdir -p "$folder/home/.config/spa"
chmod 700 "$folder/home/.config/spa"
cat >"$folder/server.toml" <<CONFIG
[server]
key = "$folder/server.key"
clients = "$folder/clients.toml"
state = "$folder/state"
control = "$folder/control.sock"
hosts = ["$server4", "$server6"]
window-future = "1s"

[sequence]
ports = [40001, 40002, 40003]

[firewall]
mode = "standalone"

[[service]]
name = "hidden"
ports = ["tcp/22"]
ttl = "30s"

[[bait]]
name = "trap"
ports = ["tcp/666"]
ban = "1m"
CONFIG
spa() {
    on client env HOME="$folder/home" XDG_CONFIG_HOME="$folder/home/.config" "$bin/$1" "${@:2}"
}
spa_server() { on server "$bin/spa-server" "$@" --config "$folder/server.toml"; }
elements() { on server nft list set inet spa "$1" | tr -d '\n\t' | grep -o 'elements = {[^}]*}'; }
lacks() { ! elements "$1" | grep -qF "$2"; }

step "A service listens on port 22 of the server, and everyone can see it"
all_hosts 2>"$folder/error" || fail "the hosts cannot be made: $(cat "$folder/error")"
start server "$bin/examples/service" 22 >"$folder/service.log" 2>&1
until_true 10 reaches client $server4 22 ||
    fail "the service does not start: $(cat "$folder/service.log")"
must_reach stranger $server4 22
must_reach stranger $server6 22

step "Keys are made and exchanged in two pastes, and the server starts"
shown server spa-server init --config server.toml
spa_server init 2>&1 | quoted
[ -s "$folder/server.key" ] || fail "no server key"
shown client spa keygen -o identity
public=$(spa spa keygen -o "$folder/home/.config/spa/identity" 2>"$folder/error") ||
    fail "$(cat "$folder/error")"
echo "$public" | quoted
shown server "spa-server client add laptop $public --service hidden"
line=$(spa_server client add laptop "$public" --service hidden 2>"$folder/error") ||
    fail "$(cat "$folder/error")"
echo "$line" | quoted
shown client "spa host add - --name server --address $server4 --address $server6"
spa spa host add - --name server --address $server4 --address $server6 2>&1 <<<"$line" | quoted
[ "${PIPESTATUS[0]}" = 0 ] || fail "the client does not take the line"
shown server spa-server run --config server.toml
start server "$bin/spa-server" run --config "$folder/server.toml" >"$folder/server.log" 2>&1
until_true 10 spa_server status || fail "the server does not start"
good "the server runs"

step "Now nobody sees anything"
for host in client stranger; do
    must_not_reach $host $server4 22
    must_not_reach $host $server6 22
done
for scan in "-sS -p 1-1024" "-6 -sS -p 1-1024" "-sU -p 40001-40003"; do
    address=$server4
    [[ $scan = -6* ]] && address=$server6
    shown stranger "nmap $scan $address"
    # Port 666 is left out: it is the trap, and the stranger shall walk into it later.
    # shellcheck disable=SC2086 # a list of words
    on stranger nmap --privileged -n -Pn -T5 --max-retries 1 --min-rate 2000 \
        --exclude-ports 666 --reason $scan $address \
        >"$folder/scan" 2>&1 || fail "nmap: $(cat "$folder/scan")"
    grep -E 'scanned ports|open|closed' "$folder/scan" | quoted
    grep -qE '(/(tcp|udp) +(open|closed)( |$))|reset|unreach' "$folder/scan" &&
        fail "the scan sees something"
    grep -q 'no-response' "$folder/scan" || fail "the scan did not scan: $(cat "$folder/scan")"
done
good "not one port answered, open or closed"

step "The client knocks"
if [ "${SPA_DEMO_INSIDE:-}" = yes ]; then
    # tcpdump insists on becoming another user, which does not exist in here.
    start client "$bin/examples/record" eth0 "$folder/knock.pcap" 2>"$folder/recorder.log"
else
    start client tcpdump -Z root -i eth0 -U --immediate-mode -w "$folder/knock.pcap" udp \
        2>"$folder/recorder.log"
fi
recorder=$!
until_true 10 grep -q 'listening on' "$folder/recorder.log" ||
    fail "no recording: $(cat "$folder/recorder.log")"
shown client "spa-client open hidden@server --ttl 12s"
spa spa-client open hidden@server --ttl 12s 2>&1 | quoted
[ "${PIPESTATUS[0]}" = 0 ] || fail "the client was not let in"
must_reach client $server4 22
must_not_reach stranger $server4 22
must_not_reach stranger $server6 22

step "The kernel itself counts the time down"
shown server nft list set inet spa grant4
first=$(elements grant4) || fail "no grant in the kernel's set"
echo "$first" | quoted
echo "$first" | grep -q expires || fail "the grant has no end"
changed() { [ "$(elements grant4)" != "$first" ]; }
until_true 3 changed || fail "the time does not run"
elements grant4 | quoted
good "it ends by itself, whether or not the server lives"

step "A connection is opened and kept; then the time passes"
coproc HELD {
    exec nsenter --net="/run/netns/$prefix-client" -- bash -c 'exec 3<>/dev/tcp/'$server4'/22
    read -r line <&3
    echo "$line"
    while read -r word; do
        echo "$word" >&3
        read -r -t 3 line <&3 || exit 1
        echo "$line"
    done'
}
exec 7>&"${HELD[1]}" 8<&"${HELD[0]}"
read -r -t 3 line <&8 || fail "the connection says nothing"
echo "$line" | quoted
until_true 20 lacks grant4 198.51.100.10 || fail "the grant does not end"
until_true 5 lacks grant6 2001:db8:c::10 || fail "the IPv6 grant does not end"
must_not_reach client $server4 22
echo "still there?" >&7
read -r -t 3 line <&8 || fail "the open connection was cut"
echo "$line" | quoted
good "new connections are closed out, the open one still works"

step "Somebody recorded the knock and sends it again"
kill "$recorder"
wait "$recorder" 2>/dev/null
for host in client stranger; do
    shown $host "replay knock.pcap"
    on $host "$bin/examples/replay" "$folder/knock.pcap" $server4 $server6 >"$folder/replay" 2>&1 ||
        fail "the replay was not sent: $(cat "$folder/replay")"
    quoted <"$folder/replay"
    for _ in 1 2; do
        must_not_reach $host $server4 22
        must_not_reach $host $server6 22
    done
    if ! lacks grant4 " . " || ! lacks grant6 " . "; then fail "a replay made a grant"; fi
done
good "the same bytes open nothing, from the same or another address"

step "The stranger touches a bait port"
lacks ban4 203.0.113.66 || fail "the stranger was banned before"
shown stranger "connect to $server4 port 666"
reaches stranger $server4 666 && fail "the bait is open"
until_true 5 elements ban4 || fail "the stranger is not banned"
elements ban4 | quoted
lacks ban4 203.0.113.66 && fail "somebody else is banned"
good "banned: everything from that address is now dropped first of all"

step "The client is still welcome"
shown client "spa-client open hidden@server"
spa spa-client open hidden@server 2>&1 | quoted
[ "${PIPESTATUS[0]}" = 0 ] || fail "the client was not let in"
greeting client $server4 22 | quoted
must_reach client $server4 22

printf '\n%sAll %d steps went as promised, in %d seconds.%s\n' \
    "$green" "$step_number" "$SECONDS" "$plain"
