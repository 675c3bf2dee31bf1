//! `--help` of every program and command.

use super::Transcript;

pub(super) fn spa() -> String {
    let mut session = Transcript::new();
    session.runs(&[
        "spa --help",
        "spa --version",
        "spa keygen --help",
        "spa pubkey --help",
        "spa inspect --help",
        "spa host --help",
        "spa host add --help",
        "spa host list --help",
        "spa host remove --help",
        "spa passwd --help",
        "spa unlock --help",
        "spa lock --help",
        "spa check --help",
        "spa open --help",
        "spa connect --help",
        "spa join --help",
        "spa rotate --help",
        "spa import --help",
        "spa completions --help",
    ]);
    session.end()
}

pub(super) fn spa_server() -> String {
    let mut session = Transcript::new();
    session.runs(&[
        "spa-server --help",
        "spa-server --version",
        "spa-server init --help",
        "spa-server run --help",
        "spa-server check --help",
        "spa-server try --help",
        "spa-server confirm --help",
        "spa-server status --help",
        "spa-server audit --help",
        "spa-server grants --help",
        "spa-server open --help",
        "spa-server close --help",
        "spa-server bans --help",
        "spa-server ban --help",
        "spa-server unban --help",
        "spa-server clients --help",
        "spa-server explain --help",
        "spa-server reload --help",
        "spa-server metrics --help",
        "spa-server top --help",
        "spa-server client --help",
        "spa-server client add --help",
        "spa-server client list --help",
        "spa-server client remove --help",
        "spa-server firewall --help",
        "spa-server firewall print --help",
        "spa-server firewall backends --help",
        "spa-server firewall backends",
        "spa-server firewall backends --json",
        "spa-server firewall backends --yaml",
        "spa-server firewall conformance --help",
        "spa-server firewall conformance --exec nowhere",
        "spa-server firewall render --help",
        "spa-server firewall render routeros --help",
        "spa-server firewall install --help",
        "spa-server firewall remove --help",
        "spa-server completions --help",
    ]);
    session.end()
}

pub(super) fn spa_client() -> String {
    let mut session = Transcript::new();
    session.runs(&[
        "spa-client --help",
        "spa-client --version",
        "spa-client open --help",
        "spa-client close --help",
        "spa-client run --help",
        "spa-client connect --help",
        "spa-client ssh-config --help",
        "spa-client doctor --help",
        "spa-client join --help",
        "spa-client rotate --help",
        "spa-client host --help",
        "spa-client host add --help",
        "spa-client host remove --help",
        "spa-client host set --help",
        "spa-client host list --help",
        "spa-client completions --help",
    ]);
    session.end()
}
