#!/bin/bash
# Debian's fwknop in namespaces: time from the start of its client to the first TCP connection, and
# how many knocks get through a flood of strangers' packets to its port. Prints machine-readable
# lines, for example
#   fwknop_pcap open_ms min=… median=… p95=… ok=30/30
#   fwknop_udp flood pps=20000 open_ms min=… median=… p95=… ok=11/20 sent_pps=19998
# Rijndael and HMAC keys, iptables, expiry by hand between the runs. Needs root. RUNS and FLOODS may
# be set.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/bench/lib.sh
. "$here/lib.sh"
"$here/../install-tools.sh" bench >&2 || exit 1
server_and_client
on server iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
on server iptables -A INPUT -p tcp --dport 22 -j DROP

fwknop --key-gen >"$folder/keys" || exit 1
key=$(sed -n 's/^KEY_BASE64: *//p' "$folder/keys")
hmac=$(sed -n 's/^HMAC_KEY_BASE64: *//p' "$folder/keys")
cat >"$folder/access.conf" <<ACCESS
SOURCE              ANY
KEY_BASE64          $key
HMAC_KEY_BASE64     $hmac
FW_ACCESS_TIMEOUT   3600
ACCESS

# daemon MODE: (re)starts fwknopd with an empty replay cache and waits until it listens.
daemon() {
    mkdir -p "$folder/$1"
    {
        echo "PCAP_INTF eth0;"
        echo "FWKNOP_RUN_DIR $folder/$1;"
        echo "FWKNOP_PID_FILE $folder/$1/pid;"
        echo "DIGEST_FILE $folder/$1/digest;"
        [ "$1" != udp ] || echo "ENABLE_UDP_SERVER Y;"
    } >"$folder/$1/fwknopd.conf"
    chmod 600 "$folder/access.conf" "$folder/$1/fwknopd.conf"
    start server fwknopd --foreground -c "$folder/$1/fwknopd.conf" -a "$folder/access.conf" \
        >"$folder/$1/log" 2>&1
    fwknopd=$!
    until_true 10 grep -qE 'main event loop|Kicking off UDP server' "$folder/$1/log" ||
        { echo "fwknopd does not start: $(cat "$folder/$1/log")" >&2; exit 1; }
}

# knock TIMES: one line per knock: µs to the first connection, or "timeout".
knock() {
    for _ in $(seq "$1"); do
        on server iptables -F FWKNOP_INPUT
        on client "$bin/time_open" $server4:22 3000 \
            fwknop --no-rc-file -A tcp/22 -a 198.51.100.10 -D $server4 \
            --key-base64-rijndael "$key" --key-base64-hmac "$hmac" --use-hmac
    done
}

for mode in pcap udp; do
    daemon $mode
    knock 2 >/dev/null # warm
    knock "$runs" | summary "fwknop_$mode open_ms" "$runs"
    for pps in $floods; do
        flood_while "$pps" stranger $server4:62201 knock $knocks |
            summary "fwknop_$mode flood pps=$pps open_ms" $knocks
    done
    kill "$fwknopd"
    wait "$fwknopd" 2>/dev/null
done
