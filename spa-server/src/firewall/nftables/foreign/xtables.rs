//! Extensions of iptables in foreign rules, as far as they say something about a packet to this
//! host. Layouts: linux/netfilter/xt_*.h; numbers are in the machine's order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::packet::{Doubt, FlowPlace, Packet};
use super::registers::Truth;
use super::step::{NewDestination, Step};
use crate::firewall::nftables::abi::{self, ct};
use crate::firewall::nftables::expression::RuleVerdict;

/// Targets of iptables behind which the next rule is asked.
const PASSING_TARGETS: [&str; 19] = [
    "LOG",
    "NFLOG",
    "MARK",
    "CONNMARK",
    "TCPMSS",
    "CHECKSUM",
    "TRACE",
    "AUDIT",
    "DSCP",
    "TOS",
    "TTL",
    "HL",
    "CLASSIFY",
    "SET",
    "TEE",
    "RATEEST",
    "IDLETIMER",
    "SECMARK",
    "CONNSECMARK",
];
/// `XT_CONNTRACK_STATE`: the state is what is asked for.
const ASKS_STATE: u16 = 1;
/// `XT_CONNTRACK_STATE_DNAT` and `_UNTRACKED`; the other bits are those of nf_tables.
const STATE_DNAT: u16 = 1 << 7;
const STATE_UNTRACKED: u16 = 1 << 8;
/// Bits of `RTN_UNICAST` and `RTN_LOCAL` in a mask of address types.
const TYPE_UNICAST: u16 = 1 << 1;
const TYPE_LOCAL: u16 = 1 << 2;
/// `XT_ADDRTYPE_INVERT_DEST`.
const INVERT_DESTINATION: u32 = 2;
/// `XT_CT_NOTRACK`.
const CT_NOTRACK: u16 = 1;
/// `NF_NAT_RANGE_PROTO_SPECIFIED`.
const RANGE_HAS_PORT: u32 = 2;
/// Ports of `xt_multiport_v1`, and how many it holds.
const MULTIPORT_DESTINATION: u8 = 1;
const MULTIPORT_PORTS: usize = 15;

/// Effect of a target.
pub(super) enum TargetEffect {
    /// The next expression is asked.
    Nothing,
    /// The packet is kept out of conntrack.
    Untracks,
    /// The rule ends.
    Ends(Step),
}

/// Tells whether an extension matches a packet.
pub(super) fn match_packet(name: &str, revision: u32, info: &[u8], packet: &Packet) -> Truth {
    let read = match (name, revision) {
        ("comment", _) => Some(true),
        ("conntrack", 2 | 3) => match_conntrack(info, packet),
        ("addrtype", 1) => match_address_type(info, packet),
        ("multiport", 1) => match_ports(info, packet),
        ("tcp" | "udp", 0) => match_transport(name, info, packet),
        // Whoever wants in as a stranger may well send a routing header.
        ("rt", 0) => packet.ordinary.then_some(false),
        _ => None,
    };
    // Lists of addresses, and those that write such.
    let doubt = if ["set", "recent", "iprange", "geoip"].contains(&name) {
        Doubt::Source
    } else {
        Doubt::Unread
    };
    read.map_or(Truth::Doubted(doubt), Truth::of)
}

/// Four addresses with masks, two times, protocol, four ports, then
/// flags u16 | inverted u16 | states u16.
fn match_conntrack(info: &[u8], packet: &Packet) -> Option<bool> {
    let (flags, inverted) = (read_u16(info, 146)?, read_u16(info, 148)?);
    let states = read_u16(info, 150)?;
    if flags != ASKS_STATE {
        return None;
    }
    let mut state = match packet.state() {
        ct::UNTRACKED => STATE_UNTRACKED,
        bits => u16::try_from(bits).ok()?,
    };
    if packet.translated && packet.tracked {
        state |= STATE_DNAT;
    }
    Some((states & state != 0) != (inverted & ASKS_STATE != 0))
}

/// Source types u16 | destination types u16 | flags u32.
fn match_address_type(info: &[u8], packet: &Packet) -> Option<bool> {
    let (source, destination) = (read_u16(info, 0)?, read_u16(info, 2)?);
    let flags = u32::from_ne_bytes(*info.get(4..)?.first_chunk()?);
    if source != 0 || flags & !INVERT_DESTINATION != 0 {
        return None;
    }
    let own = if packet.own? { TYPE_LOCAL } else { TYPE_UNICAST };
    Some((destination & own != 0) != (flags & INVERT_DESTINATION != 0))
}

/// Flags u8 | count u8 | 15 ports u16 | 15 marks u8 that the next one ends a range | inverted u8.
fn match_ports(info: &[u8], packet: &Packet) -> Option<bool> {
    let (kind, count) = (*info.first()?, usize::from(*info.get(1)?));
    if kind != MULTIPORT_DESTINATION || packet.place == FlowPlace::Answer {
        return None;
    }
    let port = packet.port?;
    let at = |n: usize| read_u16(info, 2 + 2 * n);
    let ranged = |n: usize| info.get(2 + 2 * MULTIPORT_PORTS + n).copied();
    let (mut found, mut n) = (false, 0);
    while n < count.min(MULTIPORT_PORTS) {
        let (first, mut last) = (at(n)?, at(n)?);
        if ranged(n)? != 0 {
            n += 1;
            last = at(n)?;
        }
        found |= (first..=last).contains(&port);
        n += 1;
    }
    Some(found != (*info.get(2 + 3 * MULTIPORT_PORTS)? != 0))
}

/// Two source ports u16 | two destination ports u16 | of tcp: option, mask, flags u8 | inverted u8.
fn match_transport(name: &str, info: &[u8], packet: &Packet) -> Option<bool> {
    let rest = info.get(8..)?;
    let inverted = *(if name == "tcp" { rest.get(3)? } else { rest.first()? });
    let plain = name == "udp" || matches!(rest, [0, 0, ..]);
    let any_source = (read_u16(info, 0)?, read_u16(info, 2)?) == (0, u16::MAX);
    if !plain || inverted != 0 || !any_source || packet.place == FlowPlace::Answer {
        return None;
    }
    Some((read_u16(info, 4)?..=read_u16(info, 6)?).contains(&packet.port?))
}

/// Reads what a target does.
pub(super) fn read_target(name: &str, family: u8, info: &[u8]) -> TargetEffect {
    let ends = TargetEffect::Ends;
    match name {
        passing if PASSING_TARGETS.contains(&passing) => TargetEffect::Nothing,
        "NOTRACK" => TargetEffect::Untracks,
        // Flags u16 | zone u16 | …; without notrack it sets a zone or a helper.
        "CT" if read_u16(info, 0).is_some_and(|flags| flags & CT_NOTRACK != 0) => {
            TargetEffect::Untracks
        }
        "CT" => TargetEffect::Nothing,
        "REJECT" => ends(Step::Refuses),
        "SNAT" | "MASQUERADE" => ends(Step::Decides(RuleVerdict::Accept)),
        "DNAT" | "REDIRECT" => {
            let (address, port) = read_range(family, info).unwrap_or((None, Some(None)));
            let here = name == "REDIRECT";
            let address = address.filter(|_| !here);
            ends(Step::Translates(NewDestination { address, here, port }))
        }
        other => ends(Step::HandsOver(other.to_owned())),
    }
}

/// New destination of `nf_nat_range`: flags u32 | least and greatest address in 16 bytes each | two
/// ports in network order. That of old rules for IPv4 begins with a number: count u32 | flags u32 |
/// two addresses in 4 bytes | two ports.
fn read_range(family: u8, info: &[u8]) -> Option<(Option<IpAddr>, Option<Option<u16>>)> {
    let old = family == abi::NFPROTO_IPV4 && info.len() < 40;
    let (flags_at, address_at, port_at) = if old { (4, 8, 16) } else { (0, 4, 36) };
    let flags = u32::from_ne_bytes(*info.get(flags_at..)?.first_chunk()?);
    let address = info.get(address_at..)?;
    let address = match family {
        abi::NFPROTO_IPV4 => Ipv4Addr::from(*address.first_chunk::<4>()?).into(),
        _ => Ipv6Addr::from(*address.first_chunk::<16>()?).into(),
    };
    let ports: &[u8; 4] = info.get(port_at..)?.first_chunk()?;
    let [first, last] = [[ports[0], ports[1]], [ports[2], ports[3]]].map(u16::from_be_bytes);
    let port = (flags & RANGE_HAS_PORT != 0).then_some((first == last).then_some(first));
    Some((Some(address), port))
}

fn read_u16(info: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*info.get(at..)?.first_chunk()?))
}
