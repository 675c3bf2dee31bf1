#!/bin/bash
# Runs inside the booted container, as root: the steps of docs/hide-a-service.md and what must come
# of them.
# shellcheck source=tests/systemd/lib.sh
. "$(dirname "$0")/lib.sh"

property() { systemctl show -P "$1" spa-server.service; }
# another_process PID: the unit is active again, with another process than this one.
another_process() { [ "$(property MainPID)" != "$1" ] && [ "$(property ActiveState)" = active ]; }
as_spa() { runuser -u spa -- "$@"; }
in_journal() { journalctl --no-pager -o cat -u spa-server.service | grep -qF -- "$1"; }
client() { nsenter --net=/proc/$host/ns/net -- env XDG_CONFIG_HOME=/root/client "$@"; }
reaches() { client timeout 1 bash -c 'exec 3<>/dev/tcp/192.0.2.1/22' 2>/dev/null; }

step "User and folder as \`make install\` makes them"
must make -s -C /usr/local/lib/spa-test/tree install
[ "$(stat -c '%U:%G %a' /etc/spa)" = "spa:spa 750" ] ||
    fail "/etc/spa: $(stat -c '%U:%G %a' /etc/spa)"
ok "$(stat -c '%n %U:%G %a' /etc/spa)"

step "Keys, configuration, a client"
cat >/etc/spa/spa-server.toml <<'CONFIG'
[server]
hosts = ["192.0.2.1"]

[sequence]
ports = [7013, 41, 28117]

[[service]]
name = "ssh"
ports = ["tcp/22"]
CONFIG
must spa-server init
mkdir -p /root/client
public=$(XDG_CONFIG_HOME=/root/client spa keygen 2>/dev/null) || fail "no client key"
line=$(as_spa spa-server client add laptop "$public" --service ssh 2>"$out") ||
    fail "client add: $(cat "$out")"
must env XDG_CONFIG_HOME=/root/client spa host add "$line" --name here
must as_spa spa-server check
ok "$(tail -n 1 "$out")"

step "check looks with the unit's eyes"
grep -q 'spa-server.service reaches its files' "$out" || fail "$(cat "$out")"
drop_in=/etc/systemd/system/spa-server.service.d/test.conf
mkdir -p "${drop_in%/*}"
printf '[Service]\nReadOnlyPaths=/var/lib/spa\n' >$drop_in
as_spa spa-server check >"$out" 2>&1 && fail "$(cat "$out")"
grep -q 'ReadOnlyPaths=/var/lib/spa makes it read-only' "$out" || fail "$(cat "$out")"
must systemctl daemon-reload
systemctl start spa-server.service >"$out" 2>&1 && fail "it starts with a store that is read-only"
rm -r "${drop_in%/*}"
ok "told beforehand what systemd then says"

step "The unit starts and says so"
must systemctl daemon-reload
must systemctl start spa-server.service
[ "$(property ActiveState)/$(property SubState)" = active/running ] || fail "not running"
[ "$(property NotifyAccess)" = main ] || fail "no notification"
pid=$(property MainPID)
[ "$(stat -c %U "/proc/$pid/environ")" = root ] ||
    fail "the process can be dumped and traced by its own user"
grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):' "/proc/$pid/status" | tr '\t' ' ' |
    sed 's/^/  | /'
grep -q "^Uid:.$(id -u spa).$(id -u spa).$(id -u spa)" "/proc/$pid/status" ||
    fail "not the user spa"
# CAP_NET_ADMIN is number 12, CAP_NET_RAW 13 (linux/capability.h). The bounding set is systemd's.
grep -q '^CapEff:.*0000000000001000$' "/proc/$pid/status" || fail "other capabilities"
grep -q '^CapPrm:.*0000000000001000$' "/proc/$pid/status" || fail "other capabilities"
listener=$(cat "/proc/$pid/task/$pid/children")
listener=${listener% }
grep -E '^(Name|Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):' "/proc/$listener/status" | tr '\t' ' ' |
    sed 's/^/  | listener /'
for set in CapInh CapPrm CapEff CapAmb; do
    grep -q "^$set:.*0000000000000000$" "/proc/$listener/status" ||
        fail "the listener has capabilities ($set)"
done
[ "$(stat -c %U "/proc/$listener/environ")" = root ] ||
    fail "the listener can be dumped and traced by its own user"
in_journal event=no-landlock && fail "no landlock below the unit's system call filter"
grep -q '^CapBnd:.*0000000000003000$' "/proc/$pid/status" || fail "other capabilities could be had"
must nft list table inet spa
must as_spa spa-server status
sed 's/^/  | /' "$out"
ok "READY arrived, it runs as spa, the broker with one capability, the listener with none"

step "A knock opens"
unshare --net -- sleep infinity &
host=$!
# A function, so that each try looks anew.
is_apart() { [ "$(readlink /proc/self/ns/net)" != "$(readlink "/proc/$host/ns/net")" ]; }
until_true 5 is_apart || fail "no second host"
must ip link add spa0 type veth peer name eth0 netns "$host"
must ip address add 192.0.2.1/24 dev spa0
must ip link set spa0 up
client ip address add 192.0.2.2/24 dev eth0
client ip link set eth0 up
nc -l -k 192.0.2.1 22 >/dev/null </dev/null &
until_true 5 bash -c 'ss -ltn | grep -q 192.0.2.1:22' || fail "no service"
if reaches; then fail "open before the knock"; fi
ok "closed before"
must client spa-client open ssh@here --ttl 120s
sed 's/^/  | /' "$out"
reaches || fail "closed after the knock"
ok "open after"

step "A reload takes a good configuration and refuses a bad one"
cp /etc/spa/spa-server.toml /root/good.toml
printf '\n[[service]]\nname = "web"\nports = ["tcp/443"]\n' >>/etc/spa/spa-server.toml
must systemctl reload spa-server.service
until_true 5 in_journal event=reloaded || fail "not reloaded"
nft list set inet spa protected_tcp | grep -q 443 || fail "the new service is not protected"
ok "taken"
echo 'nonsense = 1' >>/etc/spa/spa-server.toml
systemctl reload spa-server.service >"$out" 2>&1 && fail "the bad configuration was taken"
# shellcheck disable=SC2016 # the message itself has them
in_journal 'unknown key `nonsense`' || fail "the finding is not in the journal"
kill -HUP "$pid"
until_true 5 in_journal event=reload-refused || fail "the server itself does not refuse"
[ "$(property ActiveState)/$(property MainPID)" = "active/$pid" ] || fail "it did not go on"
reaches || fail "the grant is gone"
cp /root/good.toml /etc/spa/spa-server.toml
must systemctl reload spa-server.service
ok "refused; the server runs on with what it had, the grant stands"

step "A configuration on trial"
hides_web() { nft list set inet spa protected_tcp | grep -q 443; }
printf '\n[[service]]\nname = "web"\nports = ["tcp/443"]\n' >>/etc/spa/spa-server.toml
must spa-server try --for 1m
hides_web || fail "it is not in force"
[ "$(stat -c %U:%a /var/lib/spa-broker/trial-clients)" = spa:600 ] ||
    fail "$(ls -l /var/lib/spa-broker)"
must spa-server try --cancel
if hides_web; then fail "it was not rolled back"; fi
in_journal 'event=rolled-back verified=yes' || fail "not verified"
must spa-server try --for 1m
must spa-server confirm
hides_web || fail "it does not stay"
if ls /var/lib/spa-broker/trial* >"$out" 2>&1; then fail "$(cat "$out")"; fi
cp /root/good.toml /etc/spa/spa-server.toml
must systemctl reload spa-server.service
reaches || fail "the grant is gone"
ok "rolled back and verified; confirmed, it stays"

step "A client is added while it runs"
if spa-server client list >"$out" 2>&1; then
    echo "  note: root may use the files of the user spa now"
else
    sed 's/^/  | root: /' "$out"
fi
other=$(spa keygen -o /root/other 2>/dev/null)
must as_spa spa-server client add phone "$other" --service ssh
grep -q 'the running server knows it' "$out" || fail "$(cat "$out")"
as_spa spa-server status | grep -q ' 2 clients' || fail "$(as_spa spa-server status)"
ok "the running server knows it"

step "Restart, kill, watchdog"
# Seconds that the kernel still gives the grant: one line of `nft`, its timer as 1m58s312ms.
left() {
    nft list set inet spa grant4 | grep -oE 'expires ([0-9]+m)?([0-9]+s)?' | head -n 1 |
        sed -E 's/expires //; s/m/*60+/; s/s//; s/\+$//' | { read -r text; echo $((text)); }
}
before=$(left)
must systemctl restart spa-server.service
reaches || fail "the grant did not survive the restart"
after=$(left)
[ "$before" -gt 0 ] && [ "$after" -le "$before" ] && [ $((before - after)) -le 15 ] ||
    fail "$before s before the restart, $after s after"
ok "the grant survives a restart, with its time: $before s, $after s"
in_journal event=unclean-stop && fail "the stop was not clean"
pid=$(property MainPID)
kill -KILL "$pid"
until_true 10 another_process "$pid" ||
    fail "it did not come back"
reaches || fail "the grant did not survive kill -9"
ok "killed: back by itself, the grant stands"
pid=$(property MainPID)
kill -KILL "$(cat "/proc/$pid/task/$pid/children")"
until_true 10 another_process "$pid" ||
    fail "it did not come back without its listener"
reaches || fail "the grant did not survive the listener"
ok "listener killed: both back, the grant stands"
pid=$(property MainPID)
kill -STOP "$pid"
until_true 30 another_process "$pid" ||
    fail "the watchdog did not see a stopped process"
in_journal 'atchdog' || journalctl --no-pager -u spa-server | grep -qi watchdog ||
    fail "no word of the watchdog"
ok "stopped: killed by the watchdog, back by itself"

pid=$(property MainPID)
listener=$(cat "/proc/$pid/task/$pid/children")
kill -STOP "${listener% }"
until_true 30 another_process "$pid" ||
    fail "the watchdog did not see a stopped listener"
ok "listener stopped: killed by the watchdog, both back"
reaches || fail "the grant did not survive the watchdog"

step "Nothing is hidden before the first grant"
cat >>/etc/spa/spa-server.toml <<'LATE'

[firewall]
protect = "after-first-grant"

[[service]]
name = "late"
ports = ["tcp/2222"]
LATE
must as_spa spa-server reload
nft list set inet spa protected_tcp | grep -q 2222 && fail "hidden before a client has opened it"
[ -d /var/lib/spa-broker ] || fail "no folder for what the broker remembers"
must as_spa spa-server close --all
reaches || fail "hidden before the first grant"
must client spa-client open ssh@here --ttl 120s
reaches || fail "closed after the knock"
nft list set inet spa protected_tcp | grep -qw 22 || fail "visible after the first grant"
must systemctl restart spa-server.service
nft list set inet spa protected_tcp | grep -qw 22 ||
    fail "visible after a restart: $(cat /var/lib/spa-broker/opened)"
nft list set inet spa protected_tcp | grep -q 2222 && fail "hidden by a restart"
ok "spa-server reload takes it; hidden after the first grant, also after a restart"

step "A hook within the unit's walls, and by a unit of its own with a user of its own"
# As in docs/sandbox.md, "Hooks": the hook itself runs as spa, and what needs another user is a unit
# that it tells.
install -d -m 755 /usr/local/lib/spa-hook
cat >/usr/local/lib/spa-hook/note <<'HOOK'
#!/bin/sh
set -e
echo "$1 $SPA_CLIENT $SPA_SERVICE as $(id -un)" >>/run/spa/hook-notes
echo "$1 $SPA_CLIENT $SPA_SERVICE" | nc -N -U /run/spa-note.sock
HOOK
chmod 755 /usr/local/lib/spa-hook/note
cat >/etc/systemd/system/spa-note.socket <<'UNIT'
[Socket]
ListenStream=/run/spa-note.sock
SocketUser=spa
SocketMode=0600
Accept=yes
UNIT
cat >/etc/systemd/system/spa-note@.service <<'UNIT'
[Service]
User=spa-note
StandardInput=socket
RuntimeDirectory=spa-note
RuntimeDirectoryPreserve=yes
ExecStart=/bin/sh -c 'while read -r line; do \
    echo "$$line as $$(id -un)" >>/run/spa-note/notes; done'
UNIT
must useradd --system --shell /usr/sbin/nologin spa-note
must systemctl daemon-reload
must systemctl start spa-note.socket
noted() { grep -qsx "$2 laptop ssh as $3" "$1"; }
hooks='on-open = { run = ["/usr/local/lib/spa-hook/note", "{event}"] }\
on-close = { run = ["/usr/local/lib/spa-hook/note", "{event}"] }'
sed -i "s|^name = \"ssh\"\$|&\\n$hooks|" /etc/spa/spa-server.toml
must as_spa spa-server check --offline
if grep -q 'would not run' "$out"; then fail "$(cat "$out")"; fi
must as_spa spa-server close --all
must systemctl reload spa-server.service
until_true 5 in_journal event=hooks-wait ||
    fail "the first hook by a reload, and no word of a restart"
must systemctl restart spa-server.service
must client spa-client open ssh@here --ttl 120s
for file in "/run/spa/hook-notes spa" "/run/spa-note/notes spa-note"; do
    # shellcheck disable=SC2086 # two words each
    until_true 10 noted ${file% *} open ${file#* } || fail "no on-open in $file: $(cat ${file% *})"
done
must as_spa spa-server close --all
until_true 10 noted /run/spa/hook-notes close spa || fail "no on-close: $(cat /run/spa/hook-notes)"
until_true 10 noted /run/spa-note/notes close spa-note ||
    fail "no on-close: $(cat /run/spa-note/notes)"
sed 's/^/  | /' /run/spa/hook-notes /run/spa-note/notes
ok "on-open and on-close wrote as spa, and by their unit as $(stat -c %U /run/spa-note/notes)"
must client spa-client open ssh@here --ttl 10s
until_true 10 bash -c '[ $(grep -c ^open /run/spa-note/notes) = 2 ]' ||
    fail "$(cat /run/spa-note/notes)"
must systemctl stop spa-server.service
until_true 30 bash -c '! nft list table inet spa | grep -q expires' || fail "the grant does not end"
[ "$(stat -c %U:%a /var/lib/spa-broker/hooks)" = spa:600 ] || fail "$(ls -l /var/lib/spa-broker)"
must systemctl start spa-server.service
until_true 10 bash -c '[ $(grep -c ^close /run/spa-note/notes) = 2 ]' ||
    fail "an end in its absence is not told: $(cat /run/spa-note/notes)"
in_journal event=hook-failed && fail "a hook failed"
ok "an end while it was stopped is told at the next start"

step "The key as a credential that root alone can read"
must systemctl stop spa-server.service
chown root:root /etc/spa/server.key
sed -i 's/^\[server\]$/[server]\nkey = "credential:server.key"/' /etc/spa/spa-server.toml
must systemctl start spa-server.service
as_spa cat /etc/spa/server.key >/dev/null 2>&1 && fail "the user spa can read the key"
as_spa spa-server status | grep -q ' 2 clients' || fail "$(as_spa spa-server status)"
ok "runs; the key file is $(stat -c '%U:%G %a' /etc/spa/server.key)"
other=$(spa keygen -o /root/third 2>/dev/null)
must systemd-run --quiet --pipe --wait -p User=spa \
    -p LoadCredential=server.key:/etc/spa/server.key \
    spa-server client add tablet "$other" --service ssh
grep -q '^SPA-HOST-1' "$out" || fail "no line: $(cat "$out")"
as_spa spa-server status | grep -q ' 3 clients' || fail "$(as_spa spa-server status)"
ok "a client is enrolled with the key as a credential of the command"

step "A configuration that is wrong does not start, and is not tried again"
must systemctl stop spa-server.service
echo 'nonsense = 1' >>/etc/spa/spa-server.toml
if systemctl start spa-server.service >"$out" 2>&1; then fail "it started"; fi
[ "$(property ExecMainStatus)" = 78 ] || fail "exit code $(property ExecMainStatus)"
[ "$(property ActiveState)" = failed ] || fail "$(property ActiveState)"
ok "exit code 78"

step "The emergency exit"
must spa-server firewall remove
if nft list table inet spa >/dev/null 2>&1; then fail "the table is still there"; fi
ok "the table is gone"

step "What the journal and systemd say"
if journalctl --no-pager -o cat -u spa-server.service |
    grep -iE 'permission denied|not permitted|EPERM|status=31/SYS'; then
    fail "permission errors in the journal"
fi
ok "no permission error in the journal"
systemd-analyze security --no-pager spa-server.service | grep -vE '^(.\[[0-9;]*m)*(\+|✓)' |
    sed 's/^/  | /'
systemd-analyze security --no-pager --threshold=15 spa-server.service >/dev/null ||
    fail "exposed by more than 1.5"
ok "exposure at most 1.5"

kill "$host"
printf '\nall as promised\n'
