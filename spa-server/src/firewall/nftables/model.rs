//! The words that our rules are made of. Each word has one text (`text.rs`) and one encoding
//! (`expr.rs`), so the ruleset that is printed and the one that is installed are the same list.

use std::time::Duration;

use crate::ports::{PortRange, Protocol};

/// Address family of a word that looks at addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];
}

/// A set that exists once per family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    v4: &'static str,
    v6: &'static str,
}

impl Pair {
    pub(super) fn of(self, family: Family) -> &'static str {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

/// Source, protocol and port of granted ports.
pub(super) const GRANT: Pair = Pair { v4: "grant4", v6: "grant6" };
/// Sources that may reach everything.
pub(super) const ALL: Pair = Pair { v4: "all4", v6: "all6" };
/// Sources with any live grant.
pub(super) const LIVE: Pair = Pair { v4: "live4", v6: "live6" };
/// Sources in the middle of a sequence.
pub(super) const SEQUENCE: Pair = Pair { v4: "sequence4", v6: "sequence6" };
/// Banned sources, IPv6 by /64.
pub(super) const BAN: Pair = Pair { v4: "ban4", v6: "ban6" };
/// Networks that are never banned.
pub(super) const NEVER: Pair = Pair { v4: "never4", v6: "never6" };
/// Knock ports.
pub(super) const KNOCK: &str = "knock";
/// Protected ports.
pub(super) const PROTECTED_TCP: &str = "protected_tcp";
pub(super) const PROTECTED_UDP: &str = "protected_udp";

/// The set of protected ports of a protocol.
pub(super) fn protected(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => PROTECTED_TCP,
        Protocol::Udp => PROTECTED_UDP,
    }
}

/// One word of a rule: a condition, or something done when all conditions before it hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Came in by the loopback interface, whose index is 1 in every namespace.
    Loopback,
    /// Came in by none of these interfaces.
    NotFrom(Vec<String>),
    /// Destination port is in the named set.
    To(Protocol, &'static str),
    /// Source port is in the named set.
    From(Protocol, &'static str),
    /// Destination port is one of these, sorted and not touching.
    ToPorts(Protocol, Vec<PortRange>),
    /// DHCP answer for this host's client: UDP 67 to 68 (RFC 2131 §4.1).
    Dhcp4,
    /// DHCPv6 answer: from a link-local address to UDP 546 (RFC 8415 §7.2).
    Dhcp6,
    /// Destination is an address of this host.
    Local,
    /// Source is in the set, or is not.
    Source { family: Family, set: Pair, inside: bool },
    /// Source's /64, for IPv4 the source, is banned.
    Banned(Family),
    /// Source, protocol and destination port are granted.
    Granted(Family),
    /// Belongs to a flow that conntrack knows.
    Established,
    /// First packet of a flow.
    New,
    /// First packet of a TCP connection.
    Syn,
    /// ICMP of the family with one of these types, ascending.
    Icmp(Family, &'static [(u8, &'static str)]),
    /// Is of this protocol.
    Is(Protocol),
    /// Bans the source for a time; when the set is full, the rule ends here.
    Ban(Family, Duration),
    /// Counts packets and bytes.
    Counter,
    /// Copies the packet to an NFLOG group.
    Log { group: u16, prefix: String, at_once: bool },
    /// Keeps the packet out of conntrack.
    Notrack,
    /// Ends this table's interest.
    Accept,
    /// Silence.
    Drop,
    /// Back to the calling chain.
    Return,
    /// Goes through another chain.
    Jump(&'static str),
    /// Answers with a TCP reset.
    Reset,
    /// Answers with ICMP port unreachable.
    Unreachable,
}

/// Words, all of which must hold up to the one that decides.
pub(super) type Rule = Vec<Word>;

/// Where a chain hangs in the packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hook {
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) priority: i32,
    /// Verdict for a packet that no rule decided on.
    pub(super) drop: bool,
}

/// A chain of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) name: &'static str,
    pub(super) hook: Option<Hook>,
    pub(super) rules: Vec<Rule>,
}

/// What a set is keyed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyed {
    Address(Family),
    AddressPort(Family),
    Port,
}

impl Keyed {
    /// Length of a key in bytes; each part of a concatenation is padded to four.
    pub(super) fn len(self) -> u32 {
        match self {
            Self::Address(Family::V4) => 4,
            Self::Address(Family::V6) => 16,
            Self::AddressPort(Family::V4) => 12,
            Self::AddressPort(Family::V6) => 24,
            Self::Port => 2,
        }
    }

    /// The type that `nft` reads back from the kernel: six bits for each part (nftables
    /// include/datatype.h: ipv4_addr 7, ipv6_addr 8, inet_proto 12, inet_service 13).
    pub(super) fn kind(self) -> u32 {
        const PROTO_PORT: u32 = 12 << 6 | 13;
        match self {
            Self::Address(Family::V4) => 7,
            Self::Address(Family::V6) => 8,
            Self::AddressPort(Family::V4) => 7 << 12 | PROTO_PORT,
            Self::AddressPort(Family::V6) => 8 << 12 | PROTO_PORT,
            Self::Port => 13,
        }
    }
}

/// A set of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) name: &'static str,
    pub(super) keyed: Keyed,
    /// `NFT_SET_*`
    pub(super) flags: u32,
    /// Most elements; None for sets that only the configuration fills.
    pub(super) size: Option<u32>,
    /// Every element counts the packets that found it.
    pub(super) counted: bool,
}
