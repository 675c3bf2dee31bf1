//! The firewall as the engine sees it: a small trait, one file per backend.

#![forbid(unsafe_code)]

pub mod address_set;
pub mod baitlog;
pub mod capabilities;
pub(crate) mod host_network;
pub mod netlink;
pub mod nftables;
pub mod observe;
pub mod reach;
pub mod routeros;
pub mod service_options;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use self::reach::{Reach, ReachQuery};
pub use address_set::SetName;
use bincode::{Decode, Encode};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
pub use service_options::{Established, Forward, PacketHook, Target};
use spa_keys::{Failure, exit};

use crate::domain::grant::{Grant, GrantError, GrantId};
use crate::domain::ports::{PortRange, ProtoPorts};

/// Reach of the drop: what we protect, or everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Drop the protected ports unless granted; the rest is the host's own business.
    #[default]
    Guard,
    /// Default drop for everything that is neither granted nor needed to stay on the network.
    Standalone,
}

/// Look of a hidden port to a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum Hide {
    /// Silent.
    #[default]
    Drop,
    /// Refused exactly as the kernel refuses a closed port (TCP reset, ICMP port unreachable).
    Closed,
}

/// Effect of an authenticated knock from a banned address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authenticated {
    /// Opens, and lifts the ban; an address with a live grant is not banned.
    #[default]
    Pardon,
    /// Banned is banned, as in the MikroTik recipe; a live grant protects from nothing.
    Strict,
}

/// One group of bait ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bait {
    /// Name of the group, shown in the log. `[a-z0-9-]{1,24}`.
    pub name: String,
    /// Ports and ranges.
    pub ports: Vec<ProtoPorts>,
    /// Ban time.
    pub ban: Duration,
    /// A source with a live grant does not trip it.
    pub unless_secured: bool,
    /// A source in the middle of a sequence does not trip it.
    pub unless_in_sequence: bool,
}

/// Everything that the rules of our table are made from. Two equal `Rules` give the same ruleset.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Rules {
    /// Guard or standalone.
    pub mode: Mode,
    /// Look of hidden ports.
    pub hide: Hide,
    /// Interfaces that strangers come from; empty: every one but loopback.
    pub interfaces: Vec<String>,
    /// Ports that need a grant (the union of all services but `all`).
    pub protected: Vec<ProtoPorts>,
    /// Protected ports whose flows live only as long as a grant.
    pub bound: Vec<ProtoPorts>,
    /// Ports of hosts behind this one that need a grant.
    pub forward: Vec<Forward>,
    /// UDP ports of the stages at this moment (hopping ports: of the live epochs).
    pub knock: Vec<PortRange>,
    /// Set when the knocks are read by bound sockets, so they must pass the table; false when a
    /// capture reads them before it, so the table drops them before conntrack.
    pub knock_accept: bool,
    /// NFLOG group, if the table logs knocks to this NFLOG group ahead of every drop.
    pub knock_nflog: Option<u16>,
    /// Bait groups.
    pub baits: Vec<Bait>,
    /// NFLOG group for bait hits.
    pub bait_nflog: u16,
    /// Networks that are never banned.
    pub never_ban: Vec<IpNet>,
    /// At most this many bans per family.
    pub ban_limit: u32,
    /// Pardon or strict.
    pub authenticated: Authenticated,
}

/// A grant as the kernel tells it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LiveGrant {
    /// The grant, with the ttl it was given.
    pub grant: Grant,
    /// Time left by the kernel's own timer.
    pub left: Duration,
    /// First packets of flows that it let in, by the kernel's own counters: connections, where
    /// none had to be repeated. Kept when the grant is renewed, when its place goes to a
    /// longer grant, and over a restart of the server; after somebody flushed the table it
    /// goes on from the last reading. Grants of one source to one port share a counter, and each
    /// shows it. `None`: this backend does not count.
    pub used: Option<u64>,
}

/// A ban as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ban {
    /// Banned network: one IPv4 address or an IPv6 /64.
    #[bincode(with_serde)]
    pub network: IpNet,
    /// Time left.
    pub left: Duration,
}

/// A foreign rule that would still drop what we accept, or another thing the operator must know.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Obstacle {
    /// Family, table and chain, e.g. `inet filter input`.
    pub chain: String,
    /// Effect, and what to do about it, one sentence each.
    pub text: String,
    /// It lets strangers in where we hide, instead of dropping what we accept.
    #[serde(default)]
    pub bypasses: bool,
}

/// Failure of a firewall operation.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[non_exhaustive]
pub enum FirewallError {
    /// The kernel refused for lack of a capability.
    #[error(
        "no permission to change the firewall: {0}; run as root or give the process CAP_NET_ADMIN"
    )]
    Permission(String),
    /// The set has no room.
    #[error("the set {0} is full: raise its limit or shorten the ttl")]
    Full(SetName),
    /// Strict mode and the source is banned.
    #[error("{0} is banned")]
    Banned(IpAddr),
    /// The table is not there (somebody removed it); it is put back by the watcher.
    #[error("the table inet spa is missing: {0}")]
    Missing(String),
    /// A ban of a source that the rules never ban.
    #[error("firewall: {address} is in {network}, which is never banned")]
    NeverBanned {
        /// Source to be banned.
        address: IpAddr,
        /// Network of [`Rules::never_ban`] that holds it.
        #[bincode(with_serde)]
        network: IpNet,
    },
    /// Names that do not fit beside an element.
    #[error("firewall: names too long or with spaces: client `{client}`, service `{service}`")]
    UnfitNames {
        /// Name of the client.
        client: String,
        /// Name of the service.
        service: String,
    },
    /// Anything else, with the kernel's words.
    #[error("firewall: {0}")]
    Other(String),
}

impl From<FirewallError> for GrantError {
    fn from(error: FirewallError) -> Self {
        match error {
            FirewallError::Banned(_) => Self::Banned,
            error => Self::Failed(error.to_string()),
        }
    }
}

impl From<FirewallError> for Failure {
    fn from(error: FirewallError) -> Self {
        let code = if matches!(error, FirewallError::Permission(_)) {
            exit::PERMISSION
        } else {
            exit::FAILURE
        };
        Self::new(code, error.to_string())
    }
}

/// A time from `now` on that never overflows: a hundred years at most.
fn deadline_after(now: Instant, time: Duration) -> Instant {
    const MAX_TIME: Duration = Duration::from_secs(100 * 365 * 86_400);
    now.checked_add(time.min(MAX_TIME)).unwrap_or(now)
}

/// A backend. Expiry belongs to the kernel (or router): a backend opens with a timeout and never
/// needs to be alive to close.
pub trait Firewall: Send {
    /// Name for the log, e.g. `nftables`.
    fn name(&self) -> &'static str;

    /// Makes the rules be as given, in one transaction. Live grants and bans stay.
    fn install(&mut self, rules: &Rules) -> Result<(), FirewallError>;

    /// Removes everything of ours and nothing else.
    fn remove(&mut self) -> Result<(), FirewallError>;

    /// Opens or renews a grant, without a gap; in pardon mode also lifts the source's ban.
    fn open(&mut self, grant: &Grant) -> Result<(), FirewallError>;

    /// Closes a grant now. One that has ended already is no error. Answers the first packets that
    /// it has let in, as in [`LiveGrant::used`].
    fn close(&mut self, id: GrantId) -> Result<Option<u64>, FirewallError>;

    /// Closes a grant with the flows that it let in, whatever the service says of them.
    fn end(&mut self, id: GrantId) -> Result<Option<u64>, FirewallError> {
        self.close(id)
    }

    /// Opens a grant, then ends others.
    fn replace(&mut self, grant: &Grant, ends: &[GrantId]) -> Result<(), FirewallError> {
        self.open(grant)?;
        ends.iter().try_for_each(|id| self.end(*id).map(drop))
    }

    /// Goes on, for a moment, with what changes have left for later: the ends of flows.
    fn continue_work(&mut self) -> Result<(), FirewallError> {
        Ok(())
    }

    /// When [`Firewall::continue_work`] has something to do.
    fn work_due(&self) -> Option<Instant> {
        None
    }

    /// Marks a source as in the middle of a sequence for `ttl`.
    fn in_sequence(&mut self, source: IpAddr, ttl: Duration) -> Result<(), FirewallError>;

    /// The live grants, as the kernel has them.
    fn grants(&mut self) -> Result<Vec<LiveGrant>, FirewallError>;

    /// Bans a source (IPv6: its /64).
    fn ban(&mut self, source: IpAddr, time: Duration) -> Result<(), FirewallError>;

    /// Lifts a ban. No ban is no error.
    fn unban(&mut self, source: IpAddr) -> Result<(), FirewallError>;

    /// The live bans.
    fn bans(&mut self) -> Result<Vec<Ban>, FirewallError>;

    /// Lists what would still drop a granted packet.
    fn obstacles(&mut self) -> Result<Vec<Obstacle>, FirewallError>;

    /// Answers what reaches services under these rules. A backend that changes nothing has no
    /// answer.
    fn answer_reach(
        &mut self,
        _rules: &Rules,
        _query: &ReachQuery,
    ) -> Result<Vec<Reach>, FirewallError> {
        Ok(Vec::new())
    }

    /// Finds how this host itself treats a closed port beside those of the rules. `None`: that is
    /// not known.
    fn look_of_closed_ports(&mut self, _rules: &Rules) -> Result<Option<Hide>, FirewallError> {
        Ok(None)
    }

    /// Puts everything back as it was last installed, with the live grants and the time that each
    /// has left, after a foreign hand changed it. A backend that nobody can change from outside
    /// has nothing to do.
    fn restore(&mut self) -> Result<(), FirewallError> {
        Ok(())
    }

    /// Reads back what is in force, and answers what of it is not as these rules say; nothing when
    /// all is. A backend that changes nothing has nothing that could differ.
    fn difference(&mut self, _rules: &Rules) -> Result<Option<String>, FirewallError> {
        Ok(None)
    }

    /// Remembers a ban that the packet path made, so that `restore` can put it back.
    fn note_ban(&mut self, _source: IpAddr, _time: Duration) {}
}
