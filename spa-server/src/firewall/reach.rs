//! Answers about what reaches a port: hidden from strangers, reachable by a grant.

use std::fmt;
use std::net::IpAddr;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::service_options::{PacketHook, Target};
use crate::domain::ports::ProtoPorts;

/// Answer to a question about a port.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum ReachAnswer {
    /// It is so.
    Yes,
    /// It cannot be said, or not of everybody.
    Undecided,
    /// It is not so.
    No,
}

/// Answer, and what decides it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReachVerdict {
    /// The answer.
    pub answer: ReachAnswer,
    /// Cause of the answer, as a clause; of a doubt, what could not be read.
    pub why: String,
    /// Only the source decides: of a given one it can be said.
    pub by_source: bool,
}

impl Reach {
    /// A stranger may reach it: it is not hidden, or that cannot be said.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.hidden.answer != ReachAnswer::Yes && !self.not_yet
    }

    /// A grant opens nothing, whoever asks.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.reachable.answer == ReachAnswer::No && !self.unheard
    }
}

impl ReachVerdict {
    /// An answer with what decides it.
    #[must_use]
    pub fn new(answer: ReachAnswer, why: impl Into<String>) -> Self {
        Self { answer, why: why.into(), by_source: false }
    }
}

/// Address family.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum IpFamily {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl fmt::Display for IpFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// Reach of the ports of a service over one family.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reach {
    /// Name of the service.
    pub service: String,
    /// Family.
    pub family: IpFamily,
    /// No stranger reaches them.
    pub hidden: ReachVerdict,
    /// Whoever has a grant does.
    pub reachable: ReachVerdict,
    /// Remedy, a command or a setting.
    pub remedy: Option<String>,
    /// It is not hidden before a client has opened it once.
    pub not_yet: bool,
    /// All that is missing is a program that listens.
    pub unheard: bool,
}

/// Question about what reaches services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReachQuery {
    /// The services.
    pub services: Vec<ReachQuestion>,
    /// Source that asks; `None`: anybody, and sets of addresses are not looked up.
    pub source: Option<IpAddr>,
    /// A port that nobody listens on is not reachable.
    pub listeners: bool,
}

/// Service to ask about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachQuestion {
    /// Name of the service.
    pub service: String,
    /// Ports as clients ask for them.
    pub ports: Vec<ProtoPorts>,
    /// Where it is.
    pub packet_hook: PacketHook,
    /// Inner host that granted packets are sent on to.
    pub to: Option<Target>,
    /// Set when the rules hide it already.
    pub hides: bool,
}
