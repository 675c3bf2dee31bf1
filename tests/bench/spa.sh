#!/bin/bash
# spa in namespaces: time from the start of `spa-client open` to the first TCP connection, and how
# many knocks get through a flood of strangers' packets to its knock ports. The same topology, timer
# and flood as fwknop.sh. Prints lines such as
#   spa_ring open_ms min=… median=… p95=… ok=30/30
#   spa_ring flood pps=20000 open_ms min=… median=… p95=… ok=20/20 sent_pps=19998
# Three stages, IPv4, ack on; grants of one second end by themselves between the runs. Needs root.
# RUNS, FLOODS and CAPTURES may be set.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/bench/lib.sh
. "$here/lib.sh"
captures=${CAPTURES:-ring nflog udp}
must_be_built "$release"/spa{,-server,-client}
server_and_client
export XDG_CONFIG_HOME=$folder/client
mkdir -p "$XDG_CONFIG_HOME"
public=$("$release/spa" keygen 2>/dev/null) || exit 1

# configure CAPTURE: writes the server's configuration.
configure() {
    cat >"$folder/server.toml" <<CONFIG
[server]
key = "$folder/server.key"
clients = "$folder/clients.toml"
state = "$folder/state"
control = "$folder/control.sock"
hosts = ["$server4"]
window-future = "1s"
[capture]
mode = "$1"
[sequence]
ports = [20001, 20002, 20003]
[[service]]
name = "ssh"
ports = ["tcp/22"]
ttl = "1s"
CONFIG
}

configure ring
"$release/spa-server" init --config "$folder/server.toml" >/dev/null 2>&1 || exit 1
"$release/spa-server" client add bench "$public" --service ssh --config "$folder/server.toml" \
    2>/dev/null |
    "$release/spa" host add - --name server >/dev/null 2>&1 ||
    { echo "the client is not enrolled" >&2; exit 1; }

# daemon CAPTURE: starts the server and waits until it runs.
daemon() {
    configure "$1"
    start server "$release/spa-server" run --config "$folder/server.toml" >"$folder/log-$1" 2>&1
    daemon=$!
    running() {
        on server "$release/spa-server" status --config "$folder/server.toml" >/dev/null 2>&1
    }
    until_true 10 running ||
        { echo "spa-server does not start: $(cat "$folder/log-$1")" >&2; exit 1; }
}

# knock TIMES: one line per knock: µs to the first connection, or "timeout".
knock() {
    closed() { ! reaches client $server4 22; }
    for _ in $(seq "$1"); do
        until_true 10 closed || { echo "the grant does not end" >&2; exit 1; }
        on client "$bin/time_open" $server4:22 3000 "$release/spa-client" open ssh@server -4
    done
}

for capture in $captures; do
    daemon "$capture"
    knock 3 >/dev/null # warm
    knock "$runs" | summary "spa_$capture open_ms" "$runs"
    for pps in $floods; do
        flood_while "$pps" stranger $server4:20001,$server4:20002,$server4:20003 knock $knocks |
            summary "spa_$capture flood pps=$pps open_ms" $knocks
    done
    # Broker and listener. Pages that both share count twice.
    listener=$(pgrep --parent "$daemon")
    awk -v name="spa_$capture" '
        /^VmRSS/ { mb[++n] = $2 / 1024 }
        END { printf "%s broker_rss_mb=%.1f listener_rss_mb=%.1f\n", name, mb[1], mb[2] }' \
        "/proc/$daemon/status" "/proc/$listener/status"
    kill "$daemon"
    wait "$daemon" 2>/dev/null
done
