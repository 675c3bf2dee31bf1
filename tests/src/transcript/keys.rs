//! What `spa` says about keys under a passphrase, about what it finds wrong, and about other
//! knockers' files.

use super::Transcript;

/// A knockd.conf with something that has no equal.
const KNOCKD: &str = "[options]\n  logfile = /var/log/knockd.log\n\n[openSSH]\n  sequence = \
    7000,8000,9000\n  seq_timeout = 5\n  \
                      command = /sbin/iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n  tcpflags = syn\n";

pub(super) fn keys() -> String {
    let mut session = Transcript::new();
    session.name("OLD", "correct horse battery staple");
    session.runs(&[
        "spa keygen --passphrase-fd 0 < $OLD",
        "spa keygen --passphrase-fd 0 < $OLD",
        "spa inspect",
        "spa pubkey",
        "spa keygen --passphrase",
        "spa keygen -o other --passphrase",
        "spa passwd",
        "spa lock",
    ]);
    session.name("WRONG", "wrong");
    session.runs(&[
        "spa passwd --remove --passphrase-fd 0 < $WRONG",
        "spa passwd --remove --passphrase-fd 0 < $OLD",
        "spa check",
        "spa check --json",
    ]);
    session.chmod(".config/spa/identity", 0o640);
    session.runs(&["spa check", "spa check --json", "spa pubkey"]);
    session.file("knockd.conf", KNOCKD);
    session.runs(&["spa import knockd knockd.conf", "spa import fwknop knockd.conf"]);
    session.end()
}
