//! Ports at which other people's rules may treat packets differently: between two of them, all are
//! treated alike.

use super::rules::ForeignRules;
use crate::domain::ports::PortRange;
use crate::firewall::nftables::expression::{Expression, NamedExpression};

/// Bytes of a port.
const PORT_BYTES: usize = 2;
/// Extensions of iptables whose data hold ports.
const PORT_MATCHES: [&str; 3] = ["multiport", "tcp", "udp"];

impl ForeignRules {
    /// Numbers in rules and sets that may be ports, ascending.
    pub(super) fn list_numbers(&self) -> Vec<u16> {
        let in_rules = self.rules.values().flatten().flat_map(|(_, rule)| rule);
        let mut numbers: Vec<u16> = in_rules.flat_map(numbers_of).collect();
        for set in self.sets.values() {
            numbers.extend(
                set.keys().flat_map(|key| key.chunks_exact(PORT_BYTES).filter_map(read_port)),
            );
        }
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}

fn read_port(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

fn numbers_of(named: &NamedExpression) -> Vec<u16> {
    let Some(decoded) = &named.decoded else { return Vec::new() };
    match &decoded.expression {
        Expression::Cmp { value, .. } => read_port(value).into_iter().collect(),
        Expression::Range { first, last, .. } => {
            [first, last].into_iter().filter_map(|bytes| read_port(bytes)).collect()
        }
        Expression::Match { name, info, .. } if PORT_MATCHES.contains(&&**name) => {
            let pairs = |bytes: &[u8]| -> Vec<u16> {
                let read = |pair: &[u8]| Some(u16::from_ne_bytes(pair.try_into().ok()?));
                bytes.chunks_exact(PORT_BYTES).filter_map(read).collect()
            };
            pairs(&info.0)
        }
        _ => Vec::new(),
    }
}

/// Ports of a range that stand for all of it, given numbers that rules compare with.
pub(super) fn sample_ports(range: PortRange, numbers: &[u16]) -> Vec<u16> {
    let around = numbers
        .iter()
        .flat_map(|number| [number.saturating_sub(1), *number, number.saturating_add(1)]);
    let mut ports: Vec<u16> =
        around.chain([range.first, range.last]).filter(|port| range.contains(*port)).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}
