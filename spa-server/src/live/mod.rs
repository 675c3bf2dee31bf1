//! What this host is like at this moment, as far as it decides who gets in: for `spa-server check`,
//! which tells an operator before the firewall does.
//!
//! Nothing here changes anything, and nothing is passed over in silence: what could not be looked
//! at is a finding.

mod clock;
mod conntrack;
mod forwarding;
mod obstacles;
mod owners;
mod ports;
mod session;
mod ssh;

use std::fmt;

use serde::Serialize;

use crate::broker::opened::Opened;
use crate::config::{Backend, Client, Config};
use crate::sockets::read_sockets;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// As it should be.
    Good,
    /// Something to know.
    Note,
    /// It could not be looked at.
    Unknown,
    /// Probably not what was meant.
    Warning,
    /// Starting the server like this would lock somebody out.
    Error,
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Unknown => "not looked at",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// What a finding is about; a closed set of words for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum About {
    /// The ssh session that asks.
    ThisSession,
    /// ssh sessions that begin later.
    NewSessions,
    /// Other people's firewall rules.
    Firewall,
    /// The kernel's connection tracking.
    Conntrack,
    /// Whether this kernel sends packets on to hosts behind it.
    Forwarding,
    /// The clock.
    Clock,
    /// Bait ports.
    Bait,
    /// Knock ports.
    KnockPort,
    /// A service's ports.
    Service,
}

/// One thing that was found, or that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// What it is about.
    pub about: About,
    /// How much it matters.
    pub weight: Weight,
    /// What is so, why it matters, what to do.
    pub text: String,
}

impl Found {
    fn new(about: About, weight: Weight, text: impl Into<String>) -> Self {
        Self { about, weight, text: text.into() }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "this host: {}: {}", self.weight, self.text)
    }
}

/// Looks at this host with the eyes of a configuration and its clients; `now_ms` is Unix
/// milliseconds. The order is fixed: who gets in comes first.
#[must_use]
pub fn look(config: &Config, clients: &[Client], now_ms: u64) -> Vec<Found> {
    let (sockets, errors) = read_sockets();
    let unread = |error| Found::new(About::Service, Weight::Unknown, format!("{error}"));
    let mut unread: Vec<_> = errors.iter().map(unread).collect();
    let asks = session::find(&sockets);
    let owners = owners::Owners::default();
    let (opened, error) = Opened::look(config);
    unread.extend(error.map(|error| {
        Found::new(
            About::NewSessions,
            Weight::Unknown,
            format!(
                "which services a client has opened once: {error}; above, all of them count as \
                hidden"
            ),
        )
    }));
    let (hidden, later) = (opened.rules(config, &[]), config.rules(&[]));
    let host =
        ssh::Host { config, clients, now_ms, sockets: &sockets, owners: &owners, hidden, later };
    let mut found = ssh::findings(&host, &asks);
    if config.firewall.backend == Backend::Nftables {
        found.extend(forwarding::findings(config));
        found.extend(obstacles::findings(config));
        found.extend(conntrack::findings(config, &sockets));
    }
    found.push(clock::finding(config.server.window_past, config.server.window_future));
    found.append(&mut unread);
    found.extend(ports::findings(config, &sockets, &owners));
    found
}

/// TCP ports where ssh sessions come in; the usual one when no ssh server is seen.
pub(crate) fn ssh_ports() -> Vec<u16> {
    let (sockets, _) = read_sockets();
    let asks = session::find(&sockets);
    let ports = ssh::ports(&sockets, &owners::Owners::default(), &asks);
    if ports.is_empty() { vec![ssh::SSH] } else { ports }
}

/// The ssh connection that this command runs in, as one word; none outside of ssh.
pub(crate) fn ssh_session() -> Option<String> {
    session::name()
}
