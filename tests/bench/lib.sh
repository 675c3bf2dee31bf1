# What the benchmarks share; sourced by a script that has set `here` to this folder.
# shellcheck shell=bash
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" LC_ALL=C
[ "$(id -u)" = 0 ] || { echo "$0 needs root" >&2; exit 1; }
release=${CARGO_TARGET_DIR:-$here/../../target}/release
bin=${SPA_BENCH_BIN:-$release/examples}
# For the scripts: measured knocks, knocks per flood, floods in packets per second.
# shellcheck disable=SC2034
runs=${RUNS:-30} knocks=20 floods=${FLOODS:-0 2000 20000 100000}
prefix=spabench-$$
server4=192.0.2.1
# shellcheck disable=SC2034 # used by all_hosts
server6=2001:db8:1::1
folder=$(mktemp -d)
# shellcheck source=tests/demo/lib.sh
. "$here/../demo/lib.sh"
trap clean_up EXIT
trap 'exit 1' INT TERM

# must_be_built PROGRAM…
must_be_built() {
    local program
    for program in "$@"; do
        [ -x "$program" ] || { echo "$program is not built: run \`make bench\`" >&2; exit 1; }
    done
}

# server_and_client: the hosts, and a service on the server's port 22 that the client reaches.
server_and_client() {
    must_be_built "$bin"/{service,flood,time_open}
    all_hosts
    start server "$bin/service" 22 >/dev/null 2>&1
    until_true 10 reaches client $server4 22 || { echo "the service is not reachable" >&2; exit 1; }
}

# summary NAME TOTAL: reads one time in µs per line ("timeout" lines are failures) and what else
# there is to tell as WORD=VALUE; prints min, median and p95 in ms.
summary() {
    sort -n | awk -v name="$1" -v total="$2" '
        /=/ { also = also " " $0 }
        /^[0-9]+$/ { value[++count] = $1 / 1000 }
        function rank(share,   i) { i = int(share * count + 0.999999); return value[i < 1 ? 1 : i] }
        END {
            if (count) {
                printf "%s min=%.2f median=%.2f p95=%.2f", name, value[1], rank(0.5), rank(0.95)
            }
            else printf "%s min=- median=- p95=-", name
            printf " ok=%d/%d%s\n", count, total, also
        }'
}

# sent_by HOST: packets that have left its device so far.
sent_by() { on "$1" sed -n 's/^ *eth0://p' /proc/net/dev | awk '{ print $10 }'; }

# flood_while PPS HOST TARGETS COMMAND…: runs the command while HOST floods the targets, then ends
# the flood and adds the rate that it really reached. The flood is bounded by a count worth ten
# minutes, in case the script is killed.
flood_while() {
    local pps=$1 host=$2 targets=$3 flood before begin
    shift 3
    if [ "$pps" = 0 ]; then
        "$@"
        return
    fi
    start "$host" "$bin/flood" "$targets" "$pps" $((pps * 600)) >/dev/null
    flood=$!
    flowing() { [ "$(sent_by "$host")" -gt 100 ]; }
    until_true 10 flowing || { echo "the flood does not flow" >&2; exit 1; }
    before=$(sent_by "$host") begin=$(date +%s%N)
    "$@"
    echo "sent_pps=$((($(sent_by "$host") - before) * 1000000 / (($(date +%s%N) - begin) / 1000)))"
    kill "$flood"
    wait "$flood" 2>/dev/null
}
