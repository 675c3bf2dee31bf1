#!/bin/bash
# Runs inside the booted container, as root: follows pages of the documentation literally, then the
# page on uninstalling, and compares the machine with what it was. A page's blocks ```sh server are
# typed by root in the source tree, those ```sh client by a user on another host (a namespace). What
# a reader copies from one machine to the other is put in the place of PUBLIC, and pasted where a
# secret line is asked for. Only `make release` is left out: the programs were built outside.
# shellcheck source=tests/systemd/lib.sh
. "$(dirname "$0")/lib.sh"
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

# follow PAGE [FILE]: FILE is the part of it to follow.
follow() {
    local block who pasted='' public=''
    blocks "${2:-$tree/$1}"
    [ -n "$(ls "$work/blocks")" ] || fail "$1: no blocks"
    for block in "$work"/blocks/*; do
        who=${block##*-}
        sed -i -e "s/\bPUBLIC\b/$public/; s/make release && //; /^ *SPA-INVITATION-1…$/d" "$block"
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
# Left out is what a running system writes by itself, and backups of the user database.
machine() {
    find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp \
        -o -path /var/log -o -path /var/tmp -o -path /var/lib/systemd -o -path $tree \
        -o -name spa-test.out \) -prune -o \
        ! -name .pwd.lock ! -path '/etc/*-' ! -name .bash_history -printf '%p %y %m %u:%g %l\n' |
        LC_ALL=C sort
    find /etc -xdev -type f ! -name '*-' ! -name .pwd.lock -exec sha256sum {} + | sort -k 2
    ls -d /run/spa* 2>/dev/null
    systemctl list-unit-files --no-legend --no-pager
    nft list ruleset
}

# follow_and_remove PAGE: and the machine is as it was.
follow_and_remove() {
    step "$1, as it stands there"
    machine >"$work/before"
    follow "$1"
    if [ "$1" != docs/first-day.md ]; then
        [ "$(systemctl is-active spa-server)" = active ] || fail "$1: it does not run"
        until_true 5 neither_sees || fail "$1: a stranger sees ssh"
        grep -q . /tmp/spa-ssh-came || fail "$1: nobody came in"
        ok "in by a knock, hidden from a stranger, IPv4 and IPv6"
    fi
    rm -f /tmp/spa-ssh-came
    mkdir -p "$work/part"
    sed -n '/^## Uninstall$/,$p' $tree/docs/maintenance.md >"$work/part/uninstall.md"
    follow docs/maintenance.md "$work/part/uninstall.md"
    both_see || fail "$1: ssh is hidden after it was uninstalled"
    $tree/target/release/spa-server uninstall-check >"$out" 2>&1
    # The settings of ssh are the user's own file, and the page says to edit it.
    if grep -vE '^KIND|^ssh settings|of spa on this host|^nothing of spa' "$out"; then
        fail "$1: something is left"
    fi
    rm -f /home/alice/.ssh/config
    must $tree/target/release/spa-server uninstall-check
    rmdir /home/alice/.config 2>/dev/null
    machine >"$work/after"
    diff "$work/before" "$work/after" || fail "$1: the machine is not as it was"
    ok "removed: files, users, units and rules as before ($(wc -l <"$work/after") lines compared)"
}

step "A server, and a user on another host who may log in"
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
# What a machine with those programs has.
mkdir -p /etc/fwknop
for file in fwknopd.conf access.conf; do
    awk -v fence="\`\`\`conf $file" '$0 == fence { on = 1; next } /^```$/ { on = 0 } on' \
        $tree/docs/from-fwknop.md >/etc/fwknop/$file
done
awk '$0 == "```conf knockd.conf" { on = 1; next } /^```$/ { on = 0 } on' \
    $tree/docs/from-knockd.md >/etc/knockd.conf
ok "$(. /etc/os-release && echo "$PRETTY_NAME"), $(sshd -V 2>&1 | tail -n 1)"

follow_and_remove README.md
follow_and_remove docs/first-day.md
follow_and_remove docs/from-mikrotik.md
follow_and_remove docs/from-fwknop.md
follow_and_remove docs/from-knockd.md

step "Installed and removed at once"
machine >"$work/before"
(cd $tree && sudo make install) >"$out" 2>&1 || fail "$(cat "$out")"
id spa >/dev/null || fail "no user"
(cd $tree && sudo make uninstall) >"$out" 2>&1 || fail "$(cat "$out")"
machine >"$work/after"
diff "$work/before" "$work/after" || fail "the machine is not as it was"
ok "as before"
systemctl stop ssh.service ssh.socket 2>/dev/null
ip link del eth0
kill "$host"
rm -rf "$work"
