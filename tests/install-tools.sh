#!/bin/sh
# Installs what a part of the project needs and this machine lacks (Debian 12 and its kin). Silent
# when nothing is missing.
#   tests/install-tools.sh [build|demo|test|bench|fuzz|systemd|deb]      default: test
set -eu
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

# Each as "what must be there=Debian package"; a word with a slash is a file, any other a command.
build='cc=gcc pkg-config=pkg-config /etc/ssl/certs/ca-certificates.crt=ca-certificates'
demo="$build ip=iproute2 nft=nftables nmap=nmap tcpdump=tcpdump nsenter=util-linux"
tests="$demo conntrack=conntrack ssh=openssh-client sshd=openssh-server git=git rsync=rsync"
tests="$tests script=bsdutils setpriv=util-linux fail2ban-regex=fail2ban tmux=tmux make=make"
tests="$tests fish=fish zsh=zsh iptables-nft=iptables ipset=ipset strace=strace tayga=tayga"
tests="$tests python3=python3-venv"
tests="$tests ufw=ufw firewalld=firewalld dbus-daemon=dbus-daemon"
bench="$tests fwknop=fwknop-client fwknopd=fwknop-server"
fuzz="$build c++=g++ git=git patch=patch"
deb="$build dh=debhelper lintian=lintian python3=python3"
systemd="$build systemd-nspawn=systemd-container debootstrap=debootstrap"

case "${1:-test}" in
build) wanted=$build ;;
demo) wanted=$demo ;;
test) wanted=$tests ;;
bench) wanted=$bench ;;
fuzz) wanted=$fuzz ;;
systemd) wanted=$systemd ;;
deb) wanted=$deb ;;
*) echo "usage: $0 [build|demo|test|bench|fuzz|systemd|deb]" >&2; exit 2 ;;
esac

missing=
for pair in $wanted; do
    thing=${pair%=*}
    case $thing in
    */*) test -e "$thing" || missing="$missing ${pair#*=}" ;;
    *) command -v "$thing" >/dev/null 2>&1 || missing="$missing ${pair#*=}" ;;
    esac
done
# What single tests want and no machine must install, because its service would start: packages,
# unpacked below the target folder as the user who builds. Where they cannot be had, those tests say
# so and do not run.
unpacked=${CARGO_TARGET_DIR:-$(dirname "$0")/../target}/tools
unpack() {
    for pair in crowdsec=crowdsec promtool=prometheus \
        dockerd=docker.io containerd=containerd runc=runc busybox=busybox-static; do
        PATH="$PATH:$unpacked/usr/bin:$unpacked/usr/sbin:$unpacked/bin" \
            command -v "${pair%=*}" >/dev/null 2>&1 && continue
        mkdir -p "$unpacked/packages"
        (cd "$unpacked/packages" && apt-get -qq download "${pair#*=}" &&
            dpkg -x "${pair#*=}"_*.deb ..) >/dev/null 2>&1 ||
            echo "$0: ${pair#*=} cannot be unpacked: one test will not run"
        rm -rf "$unpacked/packages"
    done
}
done_with() { test "${1:-test}" != test || ! command -v apt-get >/dev/null 2>&1 || unpack; }

test -n "$missing" || { done_with "$@"; exit 0; }

if ! command -v apt-get >/dev/null 2>&1; then
    echo "$0: missing, and there is no apt-get to install them with:$missing" >&2
    exit 1
elif test "$(id -u)" = 0; then
    root=
elif sudo -n true 2>/dev/null; then
    root='sudo -n'
else
    echo "$0: missing:$missing" >&2
    echo "Neither root nor sudo without a password: run this once as root:" >&2
    echo "    apt-get install$missing" >&2
    exit 1
fi

echo "Installing:$missing"
# A package's daemon must not start on the developer's machine only because its tests want the
# program.
policy=/usr/sbin/policy-rc.d
if ! test -e $policy; then
    printf '#!/bin/sh\nexit 101\n' | $root tee $policy >/dev/null
    $root chmod 755 $policy
    trap '$root rm -f $policy' EXIT
    trap 'exit 1' INT TERM
fi
get="$root env DEBIAN_FRONTEND=noninteractive apt-get -y -qq -o DPkg::Lock::Timeout=300"
# Daemons that we bring are not started: a firewall of its own would be in force at once.
ours=
for daemon in ssh:openssh-server fwknop-server:fwknop-server fail2ban:fail2ban tayga:tayga \
    firewalld:firewalld ufw:ufw; do
    case " $missing " in
    *" ${daemon#*:} "*) ours="$ours ${daemon%:*}" ;;
    esac
done
# shellcheck disable=SC2086 # lists of words
{
    test -z "$ours" || $root systemctl mask --runtime $ours >/dev/null 2>&1 || true
    $get update </dev/null
    $get install --no-install-recommends $missing </dev/null >/dev/null
    test -z "$ours" || $root systemctl disable $ours >/dev/null 2>&1 || true
    test -z "$ours" || $root systemctl unmask --runtime $ours >/dev/null 2>&1 || true
}
done_with "$@"
