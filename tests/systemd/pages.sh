#!/bin/bash
# Runs inside the booted container, as root: follows pages of the documentation literally, then the
# page on uninstalling, and compares the machine with what it was.
# shellcheck source=tests/systemd/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/systemd/hosts.sh
. "$(dirname "$0")/hosts.sh"

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
make_hosts
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
remove_hosts
