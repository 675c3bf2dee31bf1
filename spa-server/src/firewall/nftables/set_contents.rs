//! The sets that the configuration fills: knock ports, protected ports, never-ban networks.

use ipnet::IpNet;

use super::address_number::{address_at, address_bytes, address_number, merge_ranges};
use super::model::{ALL_PROTOCOLS, KNOCK_SET, PortClass};
use super::set_keys::{SetKey, interval_keys};
use crate::domain::ports::{PortRange, merge_ports};
use crate::firewall::Rules;
use crate::firewall::address_set::{AddressSet, Family};

/// Inclusive ranges of one set, ascending, neither overlapping nor touching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SetContent {
    /// Name within our table.
    pub(super) set: &'static str,
    /// Contents.
    pub(super) ranges: Vec<KeyRange>,
}

impl SetContent {
    /// Ends of each interval, as the kernel keeps them.
    pub(super) fn keys(&self) -> Vec<SetKey> {
        self.ranges.iter().flat_map(|range| interval_keys(&range.first, &range.last)).collect()
    }
}

/// Inclusive interval of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyRange {
    first: Vec<u8>,
    last: Vec<u8>,
    /// Interval as nft writes it.
    pub(super) text: String,
}

impl From<PortRange> for KeyRange {
    fn from(range: PortRange) -> Self {
        let [first, last] = [range.first, range.last].map(|port| port.to_be_bytes().to_vec());
        Self { first, last, text: range.to_string() }
    }
}

/// Contents of the sets that the configuration fills.
pub(super) fn set_contents(rules: &Rules) -> Vec<SetContent> {
    let content = |set, ports: &mut dyn Iterator<Item = PortRange>| SetContent {
        set,
        ranges: merge_ports(ports).into_iter().map(KeyRange::from).collect(),
    };
    let mut out = vec![content(KNOCK_SET, &mut rules.knock.iter().copied())];
    for protocol in ALL_PROTOCOLS {
        for class in PortClass::ALL {
            let ports = class.ports(rules).into_iter().filter(|p| p.protocol == protocol);
            out.push(content(class.set(protocol), &mut ports.map(|p| p.range)));
        }
    }
    for family in Family::BOTH {
        let ranges = network_ranges(&rules.never_ban, family);
        out.push(SetContent { set: AddressSet::Never.name(family), ranges });
    }
    out
}

fn network_ranges(nets: &[IpNet], family: Family) -> Vec<KeyRange> {
    let of_family = nets.iter().filter(|net| net.addr().is_ipv4() == (family == Family::V4));
    let ends = |net: &IpNet| (address_number(net.network()), address_number(net.broadcast()));
    merge_ranges(of_family.map(ends))
        .into_iter()
        .map(|(first, last)| {
            let (first, last) = (address_at(first, family), address_at(last, family));
            let net = nets.iter().find(|net| net.network() == first && net.broadcast() == last);
            let text = match net {
                _ if first == last => first.to_string(),
                Some(net) => net.trunc().to_string(),
                None => format!("{first}-{last}"),
            };
            let [first, last] = [first, last].map(address_bytes);
            KeyRange { first, last, text }
        })
        .collect()
}
