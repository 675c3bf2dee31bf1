//! The words that our rules are made of. Each word has one text (`text.rs`) and one encoding
//! (`expr.rs`), so the ruleset that is printed and the one that is installed are the same list.

use std::time::Duration;

use super::abi;
use crate::firewall::Target;
use crate::ports::{PortRange, Protocol};

/// Address family of a word that looks at addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// `NFPROTO_IPV4` or `NFPROTO_IPV6`.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::V4 => abi::IPV4,
            Self::V6 => abi::IPV6,
        }
    }
}

/// What a pair of sets is keyed by beside the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Address,
    AddressProtocol,
    AddressPort,
}

/// A set that exists once per family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    v4: &'static str,
    v6: &'static str,
    pub(super) form: Form,
    /// Keyed by intervals of addresses, of the other parts too.
    pub(super) wide: bool,
    /// Every element counts the packets that found it.
    pub(super) counted: bool,
}

impl Pair {
    pub(super) fn of(self, family: Family) -> &'static str {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

const fn narrow(v4: &'static str, v6: &'static str, form: Form, counted: bool) -> Pair {
    Pair { v4, v6, form, wide: false, counted }
}

/// The kernel's interval set for concatenations takes two parts or more.
const fn wide(v4: &'static str, v6: &'static str, form: Form, counted: bool) -> Pair {
    Pair { v4, v6, form, wide: true, counted }
}

/// Source, protocol and port of granted ports of this host: asked for first packets, so they count
/// flows.
pub(super) const GRANT: Pair = narrow("grant4", "grant6", Form::AddressPort, true);
/// The same of wide grants.
pub(super) const GRANT_WIDE: Pair = wide("grant_wide4", "grant_wide6", Form::AddressPort, true);
/// The same as GRANT, asked for packets of known flows.
pub(super) const FLOW: Pair = narrow("flow4", "flow6", Form::AddressPort, false);
pub(super) const FLOW_WIDE: Pair = wide("flow_wide4", "flow_wide6", Form::AddressPort, false);
/// As GRANT, for ports of hosts behind this one.
pub(super) const INSIDE: Pair = narrow("inside4", "inside6", Form::AddressPort, true);
pub(super) const INSIDE_WIDE: Pair = wide("inside_wide4", "inside_wide6", Form::AddressPort, true);
pub(super) const INSIDE_FLOW: Pair =
    narrow("inside_flow4", "inside_flow6", Form::AddressPort, false);
pub(super) const INSIDE_FLOW_WIDE: Pair =
    wide("inside_flow_wide4", "inside_flow_wide6", Form::AddressPort, false);
/// Sources that may reach everything on this host.
pub(super) const ALL: Pair = narrow("all4", "all6", Form::Address, true);
pub(super) const ALL_WIDE: Pair = wide("all_wide4", "all_wide6", Form::AddressProtocol, true);
pub(super) const ALL_FLOW: Pair = narrow("all_flow4", "all_flow6", Form::Address, false);
pub(super) const ALL_FLOW_WIDE: Pair =
    wide("all_flow_wide4", "all_flow_wide6", Form::AddressProtocol, false);
/// Sources with any live grant.
pub(super) const LIVE: Pair = narrow("live4", "live6", Form::Address, false);
pub(super) const LIVE_WIDE: Pair = wide("live_wide4", "live_wide6", Form::AddressProtocol, false);
/// Sources in the middle of a sequence.
pub(super) const SEQUENCE: Pair = narrow("sequence4", "sequence6", Form::Address, false);
/// Banned sources, IPv6 by /64.
pub(super) const BAN: Pair = narrow("ban4", "ban6", Form::Address, false);
/// Networks that are never banned.
pub(super) const NEVER: Pair = narrow("never4", "never6", Form::Address, false);

/// Every pair that grants fill.
pub(super) const GRANTS: [Pair; 14] = [
    GRANT,
    GRANT_WIDE,
    FLOW,
    FLOW_WIDE,
    INSIDE,
    INSIDE_WIDE,
    INSIDE_FLOW,
    INSIDE_FLOW_WIDE,
    ALL,
    ALL_WIDE,
    ALL_FLOW,
    ALL_FLOW_WIDE,
    LIVE,
    LIVE_WIDE,
];
/// Those that tell which grants there are.
pub(super) const COUNTED: [Pair; 6] = [GRANT, GRANT_WIDE, INSIDE, INSIDE_WIDE, ALL, ALL_WIDE];
/// Knock ports.
pub(super) const KNOCK: &str = "knock";
/// Protected ports.
pub(super) const PROTECTED_TCP: &str = "protected_tcp";
pub(super) const PROTECTED_UDP: &str = "protected_udp";

/// Protected ports whose flows need a live grant.
pub(super) const BOUND_TCP: &str = "bound_tcp";
pub(super) const BOUND_UDP: &str = "bound_udp";

/// Protected ports of hosts behind this one, and those whose flows need a live grant.
pub(super) const FORWARD_TCP: &str = "forward_tcp";
pub(super) const FORWARD_UDP: &str = "forward_udp";
pub(super) const FORWARD_BOUND_TCP: &str = "forward_bound_tcp";
pub(super) const FORWARD_BOUND_UDP: &str = "forward_bound_udp";

/// The set of protected ports of a protocol behind this host.
pub(super) fn forwarded(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => FORWARD_TCP,
        Protocol::Udp => FORWARD_UDP,
    }
}

/// Those whose flows need a live grant.
pub(super) fn forward_bound(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => FORWARD_BOUND_TCP,
        Protocol::Udp => FORWARD_BOUND_UDP,
    }
}

/// The set of ports of a protocol whose flows need a live grant.
pub(super) fn bound(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => BOUND_TCP,
        Protocol::Udp => BOUND_UDP,
    }
}

/// The set of protected ports of a protocol.
pub(super) fn protected(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => PROTECTED_TCP,
        Protocol::Udp => PROTECTED_UDP,
    }
}

/// Which end of a packet is looked up, where the set asks for a port with which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
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
    /// Came in by the loopback interface, whose index is 1 in every namespace.
    Loopback,
    /// Came in by none of these interfaces.
    NotFrom(Vec<String>),
    /// Goes out by the loopback interface.
    LoopbackOut,
    /// Goes out by none of these interfaces.
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
    /// Destination is an address of this host.
    Local,
    /// What the view looks at is in the set, or is not.
    Held { family: Family, view: View, set: Pair, inside: bool },
    /// Source's /64, for IPv4 the source, is banned.
    Banned(Family),
    /// The flow's first packet asked for a port in the named set, before anybody's NAT.
    Asked(Protocol, &'static str),
    /// Goes the way that the flow's first packet went.
    Original,
    /// Goes the other way.
    Reply,
    /// Belongs to no flow and may begin none.
    Untracked,
    /// Goes out by one of these interfaces.
    OutTo(Vec<String>),
    /// Belongs to a flow that conntrack knows.
    Established,
    /// First packet of a flow.
    New,
    /// First packet of a TCP connection.
    Syn,
    /// A TCP reset.
    Rst,
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
    /// Goes through another chain.
    Jump(&'static str),
    /// The flow goes to this host instead, and its answers come from where the client asked.
    SendOn(Target),
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
    /// `filter` or `nat`.
    pub(super) kind: &'static str,
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
    Address(Family, Form),
    Port,
}

impl Keyed {
    /// Lengths in bytes of the parts of a key.
    pub(super) fn parts(self) -> Vec<u32> {
        match self {
            Self::Port => vec![2],
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
    /// include/datatype.h: ipv4_addr 7, ipv6_addr 8, inet_proto 12, inet_service 13).
    pub(super) fn kind(self) -> u32 {
        match self {
            Self::Port => 13,
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
