//! Checks of this host at this moment, as far as it decides who gets in: for `spa-server check`,
//! which tells an operator before the firewall does.
//!
//! Nothing here changes anything, and nothing is passed over in silence: what could not be looked
//! at is a finding.

mod clock;
mod conntrack;
mod files;
mod forwarding;
pub(crate) mod hook;
pub(crate) mod interfaces;
mod owners;
mod ports;
mod reach;
mod second_server;
mod session;
mod ssh;
mod ssh_ports;
mod unit;

use std::fmt;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde::Serialize;
use spa_keys::{Finding, Place, Severity};

use self::interfaces::NamedInterfaces;
use crate::config::activated::Opened;
use crate::config::{Backend, Client, Config};
use crate::firewall::nftables::Nftables;
use crate::firewall::reach::Reach;
use crate::sockets::read_sockets;

/// Subject of a finding; a closed set of words for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostSubject {
    /// The ssh session that asks.
    ThisSession,
    /// ssh sessions that begin later.
    NewSessions,
    /// Other people's firewall rules.
    Firewall,
    /// The kernel's connection tracking.
    Conntrack,
    /// The kernel's forwarding of packets to hosts behind it.
    Forwarding,
    /// The server itself.
    Server,
    /// The clock.
    Clock,
    /// Bait ports.
    Bait,
    /// Knock ports.
    KnockPort,
    /// A service's ports.
    Service,
    /// Interfaces that the configuration names.
    Interface,
    /// Files with secrets.
    File,
    /// The unit that runs the server.
    Unit,
}

impl fmt::Display for HostSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this host")
    }
}

impl Place for HostSubject {}

/// One thing that was found, or that could not be looked at; an error would lock somebody
/// out, or hide nothing.
pub type HostFinding = Finding<HostSubject>;

/// Findings of a look at this host.
#[derive(Debug)]
pub struct HostReport {
    /// Findings, in a fixed order: who gets in comes first.
    pub findings: Vec<HostFinding>,
    /// Reach of each service, over each family.
    pub reach: Vec<Reach>,
}

/// Looks at this host with the eyes of a configuration, read from `path`, and its clients; `now_ms`
/// is Unix milliseconds.
#[must_use]
pub fn check_host(path: &Path, config: &Config, clients: &[Client], now_ms: u64) -> HostReport {
    let (sockets, errors) = read_sockets();
    let unread =
        |error| HostFinding::new(Severity::Unknown, HostSubject::Service, format!("{error}"));
    let mut unread: Vec<_> = errors.iter().map(unread).collect();
    let asks = session::find_session(&sockets);
    let owners = owners::Owners::default();
    let (opened, error) = Opened::look(config);
    unread.extend(error.map(|error| {
        HostFinding::new(
            Severity::Unknown,
            HostSubject::NewSessions,
            format!(
                "which services a client has opened once: {error}; above, all of them count as \
                hidden"
            ),
        )
    }));
    let named = match config.firewall.backend {
        Backend::Nftables => NamedInterfaces::look(config),
        Backend::Observe => Ok(NamedInterfaces::default()),
    };
    let named = named.unwrap_or_else(|error| {
        unread.push(HostFinding::new(
            Severity::Unknown,
            HostSubject::Interface,
            format!("which interfaces this host has: {error}"),
        ));
        NamedInterfaces::default()
    });
    let (hidden, later) = (opened.rules(config, &[]), config.rules(&[]));
    let host = ssh::Host {
        config,
        clients,
        now_ms,
        sockets: &sockets,
        owners: &owners,
        hides: !named.hides_nowhere,
        hidden,
        later,
    };
    let mut found = ssh::check_ssh(&host, &asks);
    found.extend(named.findings());
    let by_unit = unit::check_unit(path, config);
    found.extend(by_unit.unwrap_or_else(|| files::check_files(config)));
    found.extend(files::find_leftovers(config));
    found.extend(table_without_server(config));
    let mut rows = Vec::new();
    if config.firewall.backend == Backend::Nftables {
        let asked = reach::ask_model(config, &opened);
        found.extend(reach::check_reach(config, &asked));
        rows = asked.unwrap_or_default();
        found.extend(forwarding::check_forwarding(config));
        found.extend(reach::check_hide(config));
        found.extend(conntrack::check_conntrack(config, &sockets));
    }
    found.extend(second_server::check_second_servers(&config.server.control));
    found.push(clock::check_clock(config.server.window_past, config.server.window_future));
    found.append(&mut unread);
    found.extend(ports::check_ports(config, &sockets, &owners));
    HostReport { findings: found, reach: rows }
}

/// Our table in the kernel, and nobody who hears a knock.
fn table_without_server(config: &Config) -> Option<HostFinding> {
    let gone = match UnixStream::connect(&config.server.control) {
        Ok(_) => false,
        Err(error) => matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused),
    };
    let hides = || Nftables::new().and_then(|mut nft| nft.is_installed()).unwrap_or(false);
    (gone && config.firewall.backend == Backend::Nftables && hides()).then(|| {
        HostFinding::new(
            Severity::Warning,
            HostSubject::Service,
            "no server runs here, and its table hides the ports: no knock is received; start it: \
             systemctl start spa-server, or take the table away: spa-server firewall remove",
        )
    })
}

pub(crate) use clock::{describe_wrong_clock, is_clock_synchronised};

/// TCP ports where ssh sessions come in; when no ssh server is seen, those that sshd would take, or
/// else the usual one.
pub(crate) fn ssh_ports() -> Vec<u16> {
    let (sockets, _) = read_sockets();
    let asks = session::find_session(&sockets);
    let ports = ssh_ports::find_ssh_ports(&sockets, &owners::Owners::default(), &asks);
    [ports, ssh_ports::ask_sshd(), vec![ssh_ports::SSH_PORT]]
        .into_iter()
        .find(|ports| !ports.is_empty())
        .unwrap_or_default()
}

/// The ssh connection that this command runs in, as one word; none outside of ssh.
pub(crate) fn ssh_session() -> Option<String> {
    session::session_name()
}
