//! Abilities of what enforces grants: this host's nftables, and each kind of enforcer beside it.

use serde::Serialize;

/// Fate of what is open when neither the server nor a process of it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WithoutServer {
    /// It ends at its time all the same.
    Closes,
    /// It stays open until the server runs again.
    StaysOpen,
}

/// Abilities of one kind of enforcer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Capabilities {
    /// An entry ends by itself at its time.
    pub expires: bool,
    /// An entry is for the ports of its service, not for every port.
    pub per_port: bool,
    /// Entries for IPv6.
    pub ipv6: bool,
    /// Bans are passed on to it.
    pub bans: bool,
    /// It sends packets on to an inner host (`to` of a service).
    pub dnat: bool,
    /// Flows end with their entry, where that is wanted.
    pub ends_flows: bool,
    /// It counts the connections that an entry has let in.
    pub counts: bool,
    /// Most entries; `None`: no limit of ours.
    pub most_entries: Option<u32>,
    /// Time until an entry is in force, as measured (docs/backends.md).
    pub delay: &'static str,
    /// Fate of what is open while no server runs.
    pub without_server: WithoutServer,
}

impl Capabilities {
    /// This host's nftables.
    pub const NFTABLES: Self = Self {
        expires: true,
        per_port: true,
        ipv6: true,
        bans: true,
        dnat: true,
        ends_flows: true,
        counts: true,
        most_entries: None,
        delay: "0.03 ms",
        without_server: WithoutServer::Closes,
    };

    /// A program of the administrator's, of which the configuration says what it can.
    #[must_use]
    pub const fn of_program(expires: bool, ends_flows: bool) -> Self {
        Self {
            expires,
            per_port: true,
            ipv6: true,
            bans: false,
            dnat: false,
            ends_flows,
            counts: false,
            most_entries: None,
            delay: "the program's",
            without_server: match expires {
                true => WithoutServer::Closes,
                false => WithoutServer::StaysOpen,
            },
        }
    }

    /// Tells whether it may be given a grant that nobody has confirmed: a copier's flow must end
    /// with it.
    #[must_use]
    pub fn takes_provisional(&self) -> bool {
        self.expires && self.ends_flows
    }
}
