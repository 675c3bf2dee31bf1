//! Sets that belong to one rule: `{ a, b }`.

use super::abi;
use super::model::{RuleWords, Word};
use super::set_keys::{SetKey, port_interval};
use crate::firewall::address_set::Family;

/// The name that the kernel replaces with one of its own.
pub(super) const ANONYMOUS_NAME: &str = "__set%d";
/// Length of an interface's name in the kernel, NUL included (`IFNAMSIZ`).
const IFNAMSIZ: usize = 16;

/// A set that belongs to one rule: `{ a, b }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AnonymousSet {
    /// `NFT_SET_*` beyond anonymous and constant.
    pub(super) flags: u32,
    /// Type as nft reads it back.
    pub(super) kind: u32,
    /// Length of a key in bytes.
    pub(super) len: u32,
    /// Whether keys are in host byte order, which nft must be told to list them.
    pub(super) host_order: bool,
    pub(super) keys: Vec<SetKey>,
}

/// The anonymous sets of a rule, in the order in which its words look them up.
pub(super) fn anonymous_sets(rule: &RuleWords) -> Vec<AnonymousSet> {
    rule.iter().filter_map(anonymous_of).collect()
}

fn anonymous_of(word: &Word) -> Option<AnonymousSet> {
    // Types: nftables include/datatype.h: inet_service 13, icmp_type 14, icmpv6_type 29, ifname 41.
    match word {
        Word::NotFrom(names) | Word::NotTo(names) | Word::OutTo(names) if names.len() > 1 => {
            Some(AnonymousSet {
                flags: 0,
                kind: 41,
                len: 16,
                host_order: true,
                keys: names.iter().map(|name| SetKey::new(ifname(name))).collect(),
            })
        }
        Word::ToPorts(_, ports) if ports.len() > 1 => {
            let keys = ports.iter().copied().flat_map(port_interval).collect();
            Some(AnonymousSet {
                flags: abi::set::INTERVAL,
                kind: 13,
                len: 2,
                host_order: false,
                keys,
            })
        }
        Word::Icmp(family, types) => Some(AnonymousSet {
            flags: 0,
            kind: if *family == Family::V4 { 14 } else { 29 },
            len: 1,
            host_order: false,
            keys: types.iter().map(|(number, _)| SetKey::new([*number])).collect(),
        }),
        _ => None,
    }
}

/// The name as the kernel compares it.
pub(super) fn ifname(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(IFNAMSIZ, 0);
    bytes
}
