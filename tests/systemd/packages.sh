#!/bin/bash
# Runs inside the booted container, as root: installs the Debian packages as their page says,
# follows the README with them, upgrades with a live grant, downgrades, removes, installs again and
# purges.
# shellcheck source=tests/systemd/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/systemd/hosts.sh
. "$(dirname "$0")/hosts.sh"
export DEBIAN_FRONTEND=noninteractive

property() { systemctl show -P "$1" spa-server.service; }
in_journal() { journalctl --no-pager -o cat -u spa-server.service | grep -qF -- "$1"; }
has_table() { nft list table inet spa >/dev/null 2>&1; }
grants() { spa-server grants --json | grep -o '"grant": *"[^"]*"' | sort; }
version() { dpkg-query --show --showformat '${Version}' spa-server; }
# install_packages FOLDER: the packages there, whatever is installed.
install_packages() {
    must apt-get install --quiet --yes --allow-downgrades "$1"/spa-client_*.deb \
        "$1"/spa-server_*.deb
}
# keeps_grants FOLDER: with those packages another process serves, and what was open is open.
keeps_grants() {
    local pid before
    pid=$(property MainPID)
    before=$(grants)
    [ -n "$before" ] || fail "nothing is open"
    install_packages "$1"
    another_serves() { [ "$(property MainPID)" != "$pid" ] && spa-server status; }
    until_true 10 another_serves || fail "it does not run again"
    [ "$(grants)" = "$before" ] || fail "open before: $before; now: $(grants)"
    must client timeout 20 ssh -o ProxyCommand=none -o BatchMode=yes gate.example.org true
}

step "Installed as docs/packages.md says"
make_hosts
machine >"$work/before"
building='make deb \&\& '
sed -n '/^## Install$/,/^## Upgrade/p' $tree/docs/packages.md >"$work/install.md"
follow docs/packages.md "$work/install.md"
old=$(version)
[ "$(stat -c '%U:%G %a' /etc/spa)" = "spa:spa 750" ] || fail "$(ls -ld /etc/spa)"
[ "$(systemctl is-enabled spa-server)/$(property ActiveState)" = disabled/inactive ] ||
    fail "it is $(systemctl is-enabled spa-server) and $(property ActiveState)"
if has_table; then fail "it hides something before anybody asked for it"; fi
both_see || fail "ssh is hidden"
for file in man/man1/spa.1.gz man/man8/spa-server.8.gz man/man5/spa-server.toml.5.gz \
    bash-completion/completions/spa-client zsh/vendor-completions/_spa-server \
    doc/spa-server/examples/ssh.toml doc/spa-client/third-party-licences.gz; do
    [ -e /usr/share/$file ] || fail "no $file"
done
ok "$old: a user, a folder, a unit that is off; nothing is hidden"

step "README.md, with the packages in the place of make install"
building='make release \&\& sudo make install'
follow README.md
until_true 5 neither_sees || fail "a stranger sees ssh"
grep -q . /tmp/spa-ssh-came || fail "nobody came in"
ok "in by a knock, hidden from a stranger, IPv4 and IPv6"

step "Upgraded and downgraded with a live grant"
must client spa-client open ssh@gate.example.org --ttl 10m
keeps_grants $tree/target/packages/newer
[ "$(version)" != "$old" ] || fail "still $old"
ok "$(version): another process, the same grants"
keeps_grants $tree/target/packages
[ "$(version)" = "$old" ] || fail "still $(version)"
ok "$old: likewise"

step "A record that a later version has written"
store=/var/lib/spa/spa.store
must systemctl stop spa-server
cp -p $store "$work/store"
tail -c +33 $store | head -c 4064 >"$work/slot"
printf 2 | dd of="$work/slot" bs=1 seek=7 conv=notrunc status=none
# shellcheck disable=SC2059 # escapes are meant
printf "$(sha256sum <"$work/slot" | cut -c -64 | sed 's/../\\x&/g')" |
    dd of=$store conv=notrunc status=none
dd if="$work/slot" of=$store bs=1 seek=32 conv=notrunc status=none
cp -p $store "$work/later"
systemctl start spa-server >"$out" 2>&1 && fail "it started"
in_journal 'written by a later version of spa-server' || fail "it does not say why"
[ "$(property ActiveState)/$(property NRestarts)" = failed/0 ] || fail "it tries again and again"
cmp $store "$work/later" || fail "the record was changed"
neither_sees || fail "ssh is not hidden meanwhile"
cp -p "$work/store" $store
must systemctl reset-failed spa-server
must systemctl start spa-server
ok "refused, said why, left as it is; ssh stays hidden"

step "Removed, and installed again"
must apt-get remove --quiet --yes spa-client spa-server
[ "$(property ActiveState)" = inactive ] || fail "it runs"
if has_table; then fail "its table is still there"; fi
both_see || fail "ssh is hidden, and nobody is there to open it"
[ -e /etc/spa/server.key ] || fail "the key is gone"
install_packages $tree/target/packages
must systemctl start spa-server
until_true 5 neither_sees || fail "a stranger sees ssh"
until_true 90 client spa-client open ssh@gate.example.org || fail "nobody comes in"
ok "opened what was hidden; with the same keys again"

step "Purged"
must apt-get purge --quiet --yes spa-client spa-server
both_see || fail "ssh is hidden"
if has_table; then fail "its table is still there"; fi
rm -rf /tmp/spa-ssh-came /home/alice/.config /home/alice/.ssh/config /home/alice/.ssh/config.*
# Debian keeps the users of packages, so that nobody else gets their numbers.
id spa >/dev/null || fail "the user is gone"
must userdel spa
machine >"$work/after"
diff "$work/before" "$work/after" || fail "the machine is not as it was"
ok "files, units and rules as before ($(wc -l <"$work/after") lines compared), but the user spa"
remove_hosts
echo
echo "all as promised"
