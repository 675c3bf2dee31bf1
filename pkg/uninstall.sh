#!/bin/bash
# Undoes `make install`: stops the server, opens what it hid, removes programs, pages, completions
# and the unit, and the folders that it made for them. Configuration, keys, clients and records
# stay, and the user that owns them, unless PURGE=yes; empty folders and a user without folders go.
# `make uninstall` calls it with DESTDIR, PREFIX, UNITS, BUILT and PURGE in the environment.
set -euo pipefail
share=$DESTDIR$PREFIX/share
data=(/etc/spa /var/lib/spa /var/lib/spa-broker)

if [ -z "$DESTDIR" ]; then
    [ "$(id -u)" = 0 ] || { echo "needs root: sudo make uninstall" >&2; exit 77; }
    if [ -d /run/systemd/system ] && [ -e "$UNITS/systemd/system/spa-server.service" ]; then
        systemctl disable --now spa-server
    fi
    for server in "$PREFIX/sbin/spa-server" "$BUILT/spa-server"; do
        # Refuses beside a running server, which would put its table back: then nothing is removed.
        [ ! -x "$server" ] || { "$server" firewall remove; break; }
    done
fi

made=$(sort -ru "$share/doc/spa/folders" 2>/dev/null || true)
rm -f "$DESTDIR$PREFIX"/bin/{spa,spa-client} "$DESTDIR$PREFIX/sbin/spa-server"
rm -f "$share"/man/man1/{spa,spa-client}.1 "$share/man/man5/spa-server.toml.5"
rm -f "$share/man/man8/spa-server.8"
rm -f "$share"/bash-completion/completions/{spa,spa-client,spa-server}
rm -f "$share"/zsh/site-functions/{_spa,_spa-client,_spa-server}
rm -f "$share"/fish/vendor_completions.d/{spa,spa-client,spa-server}.fish
rm -rf "$share/doc/spa"
rm -f "$DESTDIR$UNITS/systemd/system/spa-server.service"
rm -f "$DESTDIR$UNITS"/{sysusers.d,tmpfiles.d}/spa.conf
for folder in $made; do
    rmdir --ignore-fail-on-non-empty "$folder" 2>/dev/null || true
done
[ -z "$DESTDIR" ] || exit 0

[ ! -d /run/systemd/system ] || systemctl daemon-reload
rm -rf /run/spa
if [ "${PURGE:-}" = yes ]; then
    rm -rf "${data[@]}" "$UNITS/systemd/system/spa-server.service.d"
else
    rmdir --ignore-fail-on-non-empty "${data[@]}" 2>/dev/null || true
fi
kept=$(ls -d "${data[@]}" 2>/dev/null || true)
if [ -n "$kept" ]; then
    echo "kept:" $kept
    echo "to remove keys, clients and records too: make uninstall PURGE=yes"
elif id spa >/dev/null 2>&1; then
    userdel spa
fi
