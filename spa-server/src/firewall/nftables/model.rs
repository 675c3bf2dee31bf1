//! The words that our rules are made of. Each word has one text (`text.rs`) and one encoding
//! (`compile.rs`), so the ruleset that is printed and the one that is installed are the same list.

use std::time::Duration;

use super::abi;
use crate::domain::ports::{PortRange, ProtoPorts, Protocol};
use crate::firewall::address_set::{AddressSet, Family, GrantScope};
use crate::firewall::{Established, Rules, Target};

impl Family {
    /// `NFPROTO_IPV4` or `NFPROTO_IPV6`.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::V4 => abi::NFPROTO_IPV4,
            Self::V6 => abi::NFPROTO_IPV6,
        }
    }
}

/// Parts of a key beside the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Address,
    AddressProtocol,
    AddressPort,
}

impl AddressSet {
    /// Parts of its keys. The kernel's interval set for concatenations takes two or more.
    pub(super) fn form(self) -> Form {
        match self {
            Self::Grant { scope: GrantScope::Port | GrantScope::Inside, .. } => Form::AddressPort,
            Self::Grant { wide: true, .. } => Form::AddressProtocol,
            _ => Form::Address,
        }
    }
}

/// Sets of live grants of a scope: the narrow one, then the wide one.
pub(super) const fn grant_sets(scope: GrantScope, flow: bool) -> [AddressSet; 2] {
    [AddressSet::Grant { scope, flow, wide: false }, AddressSet::Grant { scope, flow, wide: true }]
}

/// TCP and UDP, in the order in which their rules are made.
pub(super) const ALL_PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];
/// Name of the set of knock ports.
pub(super) const KNOCK_SET: &str = "knock";

/// Class of hidden ports that has a set per protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PortClass {
    /// Protected ports of this host.
    Protected,
    /// Protected ports of this host whose flows need a live grant.
    Bound,
    /// Protected ports of hosts behind this one.
    Forward,
    /// Protected ports of hosts behind this one whose flows need a live grant.
    ForwardBound,
}

impl PortClass {
    /// Every class, in the order in which their sets are made.
    pub(super) const ALL: [Self; 4] =
        [Self::Protected, Self::Bound, Self::Forward, Self::ForwardBound];

    /// Name of its set of a protocol.
    pub(super) fn set(self, protocol: Protocol) -> &'static str {
        let [tcp, udp] = match self {
            Self::Protected => ["protected_tcp", "protected_udp"],
            Self::Bound => ["bound_tcp", "bound_udp"],
            Self::Forward => ["forward_tcp", "forward_udp"],
            Self::ForwardBound => ["forward_bound_tcp", "forward_bound_udp"],
        };
        if protocol == Protocol::Tcp { tcp } else { udp }
    }

    /// Ports that the rules put into the class.
    pub(super) fn ports(self, rules: &Rules) -> Vec<ProtoPorts> {
        let behind = |only_bound: bool| {
            let forward = rules.forward.iter();
            let wanted = forward.filter(|f| !only_bound || f.established == Established::Drop);
            wanted.flat_map(|f| f.ports.iter().copied()).collect()
        };
        match self {
            Self::Protected => rules.protected.clone(),
            Self::Bound => rules.bound.clone(),
            Self::Forward => behind(false),
            Self::ForwardBound => behind(true),
        }
    }
}

/// Name of our table, of family inet.
pub(super) const TABLE_NAME: &str = "spa";
/// Name of the table that keeps translations alive; family inet as well.
pub(super) const NAT_TABLE_NAME: &str = "spa_nat";
/// The table, in errors.
pub(super) const ABOUT_TABLE: &str = "table inet spa";

/// Prefix of a bait hit in the log; the group's name and a space follow.
pub(in crate::firewall) const BAIT_PREFIX: &str = "spa bait ";

/// Ends of a packet that are looked up, where the set asks for a port with which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PacketView {
    /// Source and destination port.
    Comes,
    /// Destination and source port: an answer.
    Goes,
    /// Source and the port that the flow's first packet asked for, before anybody's NAT. The rule
    /// must name the protocol before it.
    Asked,
    /// Destination and that port: an answer.
    Answered,
}

/// One word of a rule: a condition, or something done when all conditions before it hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Enters by the loopback interface, whose index is 1 in every namespace.
    Loopback,
    /// Enters by none of these interfaces.
    NotFrom(Vec<String>),
    /// Leaves by the loopback interface.
    LoopbackOut,
    /// Leaves by none of these interfaces.
    NotTo(Vec<String>),
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
    /// Source is an address of this host.
    FromLocal,
    /// Destination is an address of this host.
    Local,
    /// Has in the set, or not in it, what the view looks at.
    Held { family: Family, view: PacketView, set: AddressSet, inside: bool },
    /// Source's /64, for IPv4 the source, is banned.
    Banned(Family),
    /// The flow's first packet asked for a port in the named set, before anybody's NAT.
    Asked(Protocol, &'static str),
    /// Travels in the direction of the flow's first packet.
    Original,
    /// Travels in the other direction.
    Reply,
    /// Belongs to no flow and may begin none.
    Untracked,
    /// Leaves by one of these interfaces.
    OutTo(Vec<String>),
    /// Belongs to a flow that conntrack knows and that has gone both ways.
    Established,
    /// First packet of a flow that another one has announced, or an ICMP error about one.
    Related,
    /// Belongs to a flow that somebody's NAT leads elsewhere than it asked.
    Redirected,
    /// First packet of a flow.
    New,
    /// First packet of a TCP connection.
    Syn,
    /// A TCP reset.
    Rst,
    /// ICMP of the family with one of these types, ascending.
    Icmp(Family, &'static [(u8, &'static str)]),
    /// Has this protocol.
    Is(Protocol),
    /// Bans the source for a time; when the set is full, the rule ends here.
    Ban(Family, Duration),
    /// Counts packets and bytes.
    Counter,
    /// Copies the packet to an NFLOG group.
    Log { group: u16, prefix: String, at_once: bool },
    /// Clears the differentiated services code point, of IPv6 also the flow label.
    Plain(Family),
    /// Keeps the packet out of conntrack.
    Notrack,
    /// Ends this table's interest.
    Accept,
    /// Silence.
    Drop,
    /// Back to the calling chain.
    Return,
    /// Runs another chain.
    Jump(&'static str),
    /// The flow goes to this host instead, and its answers come from where the client asked.
    SendOn(Target),
    /// Answers with a TCP reset.
    Reset,
    /// Answers with ICMP port unreachable.
    Unreachable,
}

/// Words, all of which must hold up to the one that decides.
pub(super) type RuleWords = Vec<Word>;

/// Hook of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChainHook {
    /// `filter` or `nat`.
    pub(super) kind: &'static str,
    /// Name of the hook, as nft writes it.
    pub(super) name: &'static str,
    /// `NF_INET_*`
    pub(super) number: u32,
    /// Place among the chains of the hook; lower ones see a packet first.
    pub(super) priority: i32,
    /// Verdict for a packet that no rule decided on.
    pub(super) drop: bool,
}

/// A chain of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChainSpec {
    /// Name within our table.
    pub(super) name: &'static str,
    /// Hook of a base chain; `None`: it runs only when a rule jumps to it.
    pub(super) hook: Option<ChainHook>,
    /// Rules, in the order in which they are tried.
    pub(super) rules: Vec<RuleWords>,
}

/// Type of a set's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyType {
    Address(Family, Form),
    Port,
    Interface,
    IcmpType(Family),
}

impl KeyType {
    /// Lengths in bytes of the parts of a key.
    pub(super) fn parts(self) -> Vec<u32> {
        match self {
            Self::Port => vec![2],
            Self::Interface => vec![16],
            Self::IcmpType(_) => vec![1],
            Self::Address(family, form) => {
                let address = if family == Family::V4 { 4 } else { 16 };
                match form {
                    Form::Address => vec![address],
                    Form::AddressProtocol => vec![address, 1],
                    Form::AddressPort => vec![address, 1, 2],
                }
            }
        }
    }

    /// Length of a key in bytes; each part of a concatenation is padded to four.
    pub(super) fn len(self) -> u32 {
        match self.parts().as_slice() {
            [one] => *one,
            parts => parts.iter().map(|part| part.next_multiple_of(4)).sum(),
        }
    }

    /// The type that `nft` reads back from the kernel: six bits for each part (nftables
    /// include/datatype.h: ipv4_addr 7, ipv6_addr 8, inet_proto 12, inet_service 13, icmp_type 14,
    /// icmpv6_type 29, ifname 41).
    pub(super) fn kind(self) -> u32 {
        match self {
            Self::Port => 13,
            Self::Interface => 41,
            Self::IcmpType(Family::V4) => 14,
            Self::IcmpType(Family::V6) => 29,
            Self::Address(family, form) => {
                let address = if family == Family::V4 { 7 } else { 8 };
                match form {
                    Form::Address => address,
                    Form::AddressProtocol => address << 6 | 12,
                    Form::AddressPort => address << 12 | 12 << 6 | 13,
                }
            }
        }
    }
}

/// A set of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SetSpec {
    /// Name within our table.
    pub(super) name: &'static str,
    /// Type of the keys.
    pub(super) keyed: KeyType,
    /// `NFT_SET_*`
    pub(super) flags: u32,
    /// Most elements; None for sets that only the configuration fills.
    pub(super) size: Option<u32>,
    /// Every element counts the packets that found it.
    pub(super) counted: bool,
}
