# For the scripts inside the booted container that follow pages and need a second host, with a user
# who may log in by ssh; they source it after lib.sh. `$host` is a process on that host.
tree=/usr/local/lib/spa-test/tree
work=$(mktemp -d)

client() { nsenter --net=/proc/$host/ns/net -- runuser -u alice -- env HOME=/home/alice "$@"; }
# stranger ADDRESS-OF-OURS ADDRESS-OF-ITS-OWN: can it connect to ssh?
stranger() { nsenter --net=/proc/$host/ns/net -- nc -z -w 1 -s "$2" "$1" 22; }
both_see() { stranger 192.0.2.1 192.0.2.9 && stranger 2001:db8::1 2001:db8::9; }
neither_sees() { ! stranger 192.0.2.1 192.0.2.9 && ! stranger 2001:db8::1 2001:db8::9; }

# blocks PAGE: each block as a file, named by its number and who types it.
blocks() {
    rm -rf "$work/blocks" && mkdir "$work/blocks"
    awk -v to="$work/blocks" '
        /^ *```sh (server|client)$/ { file = sprintf("%s/%02d-%s", to, ++n, $2); next }
        /^ *```$/ { file = "" }
        file { print >file }' "$1"
}

# What is built outside, and left out of a page.
building='make release \&\& '
# follow PAGE [FILE]: does what a page says, or that part of it. Its blocks ```sh server are typed
# by root in the source tree, those ```sh client by a user on another host (a namespace). What a
# reader copies from one machine to the other is put in the place of PUBLIC, and pasted where a
# secret line is asked for.
follow() {
    local block who pasted='' public=''
    blocks "${2:-$tree/$1}"
    [ -n "$(ls "$work/blocks")" ] || fail "$1: no blocks"
    for block in "$work"/blocks/*; do
        who=${block##*-}
        sed -i -e "s/\bPUBLIC\b/$public/; s/$building//; /^ *SPA-INVITATION-1…$/d" "$block"
        sed "s/^ */  $who\$ /" "$block"
        if [ "$who" = server ]; then
            (cd $tree && bash -e "$block") >"$work/said" 2>"$work/err" </dev/null ||
                fail "$1: $(cat "$block"): $(cat "$work/said" "$work/err")"
            pasted=$(grep -Eo '^SPA-(INVITATION|HOST)-1.*' "$work/said" || echo "$pasted")
        else
            install -m 644 "$block" /tmp/spa-block
            printf '%s\n' "$pasted" |
                client timeout 60 bash -e /tmp/spa-block >"$work/said" 2>"$work/err" ||
                fail "$1: $(cat "$block"): $(cat "$work/said" "$work/err")"
            public=$(grep -o '^spa1.*' "$work/said" || echo "$public")
            # Pasted once.
            pasted=
        fi
    done
    rm -f /tmp/spa-block
}

# What a machine is: files with owners and modes, the content of its settings, enabled units, rules.
# Left out is what a running system and its package manager note for themselves, and backups of the
# user database.
machine() {
    find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp \
        -o -path /var/log -o -path /var/tmp -o -path /var/lib/systemd -o -path $tree \
        -o -path /var/cache -o -path /var/lib/apt -o -path /var/lib/dpkg \
        -o -name spa-test.out \) -prune -o \
        ! -name .pwd.lock ! -path '/etc/*-' ! -name .bash_history -printf '%p %y %m %u:%g %l\n' |
        LC_ALL=C sort
    find /etc -xdev -type f ! -name '*-' ! -name .pwd.lock -exec sha256sum {} + | sort -k 2
    ls -d /run/spa* 2>/dev/null
    systemctl list-unit-files --no-legend --no-pager
    nft list ruleset
}

make_hosts() {
    unshare --net -- sleep infinity &
    host=$!
    is_apart() { [ "$(readlink /proc/self/ns/net)" != "$(readlink "/proc/$host/ns/net")" ]; }
    until_true 5 is_apart || fail "no second host"
    must ip link add eth0 type veth peer name eth0 netns "$host"
    must ip address add 192.0.2.1/24 dev eth0
    must ip address add 2001:db8::1/64 dev eth0 nodad
    must ip link set eth0 up
    for address in 192.0.2.2/24 192.0.2.9/24 2001:db8::2/64; do
        must nsenter --net=/proc/$host/ns/net ip address add $address dev eth0 nodad
    done
    # The stranger's: nobody takes it who does not ask for it.
    must nsenter --net=/proc/$host/ns/net \
        ip address add 2001:db8::9/64 dev eth0 nodad preferred_lft 0
    must nsenter --net=/proc/$host/ns/net ip link set eth0 up
    printf '192.0.2.1 gate.example.org\n2001:db8::1 gate.example.org\n' >>/etc/hosts
    must useradd --create-home --shell /bin/bash alice
    # shellcheck disable=SC2016 # for alice's shell
    echo 'echo "$SSH_CONNECTION" >>/tmp/spa-ssh-came' >/home/alice/.profile
    must runuser -u alice -- ssh-keygen -q -t ed25519 -N '' -f /home/alice/.ssh/id_ed25519
    must install -o alice -g alice -m 600 /home/alice/.ssh/id_ed25519.pub \
        /home/alice/.ssh/authorized_keys
    echo "gate.example.org $(cat /etc/ssh/ssh_host_ed25519_key.pub)" >/home/alice/.ssh/known_hosts
    must systemctl start ssh.service
    until_true 10 both_see || fail "no ssh server"
}

remove_hosts() {
    systemctl stop ssh.service ssh.socket 2>/dev/null
    ip link del eth0
    kill "$host"
    rm -rf "$work"
}
