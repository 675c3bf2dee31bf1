# Words and small tools of the demo; sourced by demo.sh.
# shellcheck shell=bash

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' blue=$'\e[34m' plain=$'\e[0m'
else
    bold='' dim='' green='' red='' blue='' plain=''
fi

step_number=0
step() {
    step_number=$((step_number + 1))
    printf '\n%s%d. %s%s\n' "$bold" "$step_number" "$*" "$plain"
}
shown() { printf '   %s%s$%s %s\n' "$blue" "$1" "$plain" "${*:2}"; }
quoted() { sed "s/^/   $dim| /; s/\$/$plain/"; }
good() { printf '   %sok%s  %s\n' "$green" "$plain" "$*"; }
fail() {
    printf '\n%sNOT AS PROMISED%s in step %d: %s\n' "$red" "$plain" "$step_number" "$*" >&2
    if [ -s "$folder/server.log" ]; then
        echo "The last lines of the server's log:" >&2
        tail -n 20 "$folder/server.log" >&2
    fi
    exit 1
}

# on HOST COMMAND…: runs it in a host. nsenter, because `ip netns exec` mounts /sys, which a
# container may forbid.
on() { nsenter --net="/run/netns/$prefix-$1" -- "${@:2}"; }

# start HOST COMMAND…: the same in the background. nsenter becomes the program, so its process id is
# the program's own.
start() {
    nsenter --net="/run/netns/$prefix-$1" -- "${@:2}" &
}

# until_true SECONDS COMMAND…: asks again until it succeeds.
until_true() {
    local deadline=$((SECONDS + $1 + 1))
    while ! "${@:2}" >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.05
    done
}

# reaches HOST ADDRESS PORT: a whole TCP handshake within a second.
reaches() { on "$1" timeout 1 bash -c "exec 3<>/dev/tcp/$2/$3" 2>/dev/null; }

# greeting HOST ADDRESS PORT: the first line that the service says.
greeting() {
    on "$1" timeout 2 bash -c "exec 3<>/dev/tcp/$2/$3; read -r line <&3; echo \"\$line\""
}

must_reach() {
    reaches "$1" "$2" "$3" || fail "the $1 does not reach $2 port $3"
    good "the $1 reaches $2 port $3"
}
must_not_reach() {
    if reaches "$1" "$2" "$3"; then fail "the $1 reaches $2 port $3"; fi
    good "the $1 gets no connection to $2 port $3"
}

# clean_up: ends what still runs in our namespaces and removes them and the folder.
clean_up() {
    for host in client stranger server switch; do
        # shellcheck disable=SC2046 # a list of numbers
        kill $(ip netns pids "$prefix-$host" 2>/dev/null) 2>/dev/null
        ip netns delete "$prefix-$host" 2>/dev/null
    done
    wait 2>/dev/null
    rm -rf "$folder"
}

# add_host NAME ADDRESS4 ADDRESS6: a namespace with one device on the switch. Every address counts
# as being on the link.
add_host() {
    local net="$prefix-$1"
    ip netns add "$net"
    on "$1" sh -c 'echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6
        echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad'
    ip -n "$net" link set lo up
    ip link add eth0 netns "$net" type veth peer name "$1" netns "$prefix-switch"
    ip -n "$prefix-switch" link set "$1" master br0 up
    ip -n "$net" address add "$2/24" dev eth0
    ip -n "$net" address add "$3/64" dev eth0 nodad
    ip -n "$net" link set eth0 up
    ip -n "$net" route add default dev eth0
    ip -n "$net" -6 route add default dev eth0
}

# all_hosts: a switch, the server, its client and a stranger. Addresses are from the documentation
# ranges.
all_hosts() {
    ip netns add "$prefix-switch"
    ip -n "$prefix-switch" link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0
    ip -n "$prefix-switch" link set br0 up
    add_host server "$server4" "$server6"
    add_host client 198.51.100.10 2001:db8:c::10
    add_host stranger 203.0.113.66 2001:db8:5::66
}
