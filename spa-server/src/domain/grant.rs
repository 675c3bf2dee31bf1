//! A grant: one source may reach one service for a time.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bincode::{Decode, Encode};
use ipnet::IpNet;

use crate::domain::ports::ProtoPorts;

/// The client's name in a grant that an administrator opened. No client can have it: a client's
/// name has no colon (`config/parsers.rs`), so nobody can enrol as the administrator and renew,
/// close or hide behind such a grant.
pub const ADMIN_NAME: &str = ":admin";

/// Number of a grant, shown as `g42`. Unique while the server's table lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct GrantId(pub u64);

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}", self.0)
    }
}

impl FromStr for GrantId {
    type Err = std::num::ParseIntError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.strip_prefix('g').unwrap_or(s).parse().map(Self)
    }
}

/// Ports that a grant opens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Scope {
    /// Everything on this host (the "secured" list of the MikroTik recipe).
    All,
    /// These ports of hosts behind this one.
    Inside(Arc<[ProtoPorts]>),
    /// These ports; each port becomes one element of the kernel's set.
    Ports(Arc<[ProtoPorts]>),
}

/// One source's permission to reach one service.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Grant {
    /// Number, by which operators and the record name the grant.
    pub id: GrantId,
    /// Name of the client whose knock opened it.
    pub client: Arc<str>,
    /// Name of the service.
    pub service: Arc<str>,
    /// The address that may pass.
    pub source: IpAddr,
    /// Number of leading bits of the source that count: 32 or 128 for the address alone, less for a
    /// carrier whose NAT changes the address in between.
    pub prefix: u8,
    /// Ports that the source may reach.
    pub scope: Scope,
    /// Time from now on, at least one second.
    pub ttl: Duration,
    /// Nobody has confirmed it yet: the flows that it lets in end with it.
    pub provisional: bool,
}

impl Grant {
    /// The addresses that may pass, without bits behind the prefix.
    #[must_use]
    pub fn network(&self) -> IpNet {
        IpNet::new(self.source, self.prefix).unwrap_or_else(|_| self.source.into()).trunc()
    }
}

/// The prefix of one address alone.
#[must_use]
pub fn alone(source: IpAddr) -> u8 {
    if source.is_ipv4() { 32 } else { 128 }
}

/// Failure of the firewall to open or close a grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The source is banned, and no knock lifts the ban.
    #[error("the source is banned")]
    Banned,
    /// Anything else, in the firewall's words.
    #[error("{0}")]
    Failed(String),
}

/// Reason for which a grant may stand no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RevokeReason {
    /// The client was removed, or another key has its name.
    Client,
    /// The service was removed.
    Service,
    /// The client may not open the service any more.
    Right,
}

impl RevokeReason {
    /// The word that stands in the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Client => "client-removed",
            Self::Service => "service-removed",
            Self::Right => "right-removed",
        }
    }
}
