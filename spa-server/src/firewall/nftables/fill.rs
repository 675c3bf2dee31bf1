//! The sets that the configuration fills: knock ports, protected ports, never-ban networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::forward;
use super::model::{Family, KNOCK, NEVER, bound, forward_bound, forwarded, protected};
use super::ruleset::merged;
use super::set_keys::{SetKey, port_interval};
use crate::firewall::Rules;
use crate::ports::{PortRange, ProtoPorts, Protocol};

/// Inclusive ranges of one set, ascending, neither overlapping nor touching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fill {
    pub(super) set: &'static str,
    pub(super) ranges: Vec<Range>,
}

impl Fill {
    /// Both ends of each interval, as the kernel keeps them.
    pub(super) fn keys(&self) -> Vec<SetKey> {
        self.ranges.iter().flat_map(Range::keys).collect()
    }
}

/// One interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Range {
    Ports(PortRange),
    Addresses { first: IpAddr, last: IpAddr, text: String },
}

impl Range {
    fn keys(&self) -> Vec<SetKey> {
        let interval = |first: &[u8], end: Option<Vec<u8>>| {
            std::iter::once(SetKey::new(first)).chain(end.map(SetKey::end)).collect()
        };
        match self {
            Self::Ports(range) => port_interval(*range).collect(),
            Self::Addresses { first: IpAddr::V4(first), last: IpAddr::V4(last), .. } => {
                let end = u32::from(*last).checked_add(1);
                interval(&first.octets(), end.map(|end| end.to_be_bytes().to_vec()))
            }
            Self::Addresses { first, last, .. } => {
                let end = number(*last).checked_add(1);
                interval(&number(*first).to_be_bytes(), end.map(|end| end.to_be_bytes().to_vec()))
            }
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Ports(range) => range.to_string(),
            Self::Addresses { text, .. } => text.clone(),
        }
    }
}

/// What belongs into which set.
pub(super) fn fills(rules: &Rules) -> Vec<Fill> {
    let ports = |set, ranges: Vec<PortRange>| Fill {
        set,
        ranges: ranges.into_iter().map(Range::Ports).collect(),
    };
    let mut out = vec![ports(KNOCK, merged(rules.knock.iter().copied()))];
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let of = |all: &[ProtoPorts]| {
            merged(
                all.iter()
                    .filter(|p| p.protocol == protocol)
                    .map(|p| p.range)
                    .collect::<Vec<_>>()
                    .into_iter(),
            )
        };
        out.push(ports(protected(protocol), of(&rules.protected)));
        out.push(ports(bound(protocol), of(&rules.bound)));
        out.push(ports(forwarded(protocol), of(&forward::ports(rules, false))));
        out.push(ports(forward_bound(protocol), of(&forward::ports(rules, true))));
    }
    for family in Family::BOTH {
        out.push(Fill { set: NEVER.of(family), ranges: networks(&rules.never_ban, family) });
    }
    out
}

fn networks(nets: &[IpNet], family: Family) -> Vec<Range> {
    let mut sorted: Vec<(u128, u128)> = nets
        .iter()
        .filter(|net| {
            matches!((net, family), (IpNet::V4(_), Family::V4) | (IpNet::V6(_), Family::V6))
        })
        .map(|net| (number(net.network()), number(net.broadcast())))
        .collect();
    sorted.sort_unstable();
    let mut ranges: Vec<(u128, u128)> = Vec::with_capacity(sorted.len());
    for (first, last) in sorted {
        match ranges.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => ranges.push((first, last)),
        }
    }
    ranges
        .into_iter()
        .map(|(first, last)| {
            let (first, last) = (address(first, family), address(last, family));
            let net = nets.iter().find(|net| net.network() == first && net.broadcast() == last);
            let text = match net {
                _ if first == last => first.to_string(),
                Some(net) => net.trunc().to_string(),
                None => format!("{first}-{last}"),
            };
            Range::Addresses { first, last, text }
        })
        .collect()
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u128::from(u32::from(a)),
        IpAddr::V6(a) => u128::from(a),
    }
}

fn address(number: u128, family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX))),
        Family::V6 => IpAddr::V6(Ipv6Addr::from(number)),
    }
}
