//! Sets that belong to one rule: `{ a, b }`.

use super::abi::set::{ANONYMOUS, CONSTANT, INTERVAL};
use super::model::{KeyType, RuleWords, SetSpec, Word};
use super::set_keys::{SetKey, interval_keys};

/// The name that the kernel replaces with one of its own.
pub(super) const ANONYMOUS_NAME: &str = "__set%d";

/// Set that belongs to one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AnonymousSet {
    /// Kind of the set; the kernel gives it a name of its own.
    pub(super) spec: SetSpec,
    /// Keys, of intervals both ends.
    pub(super) keys: Vec<SetKey>,
}

impl AnonymousSet {
    fn new(keyed: KeyType, flags: u32, keys: Vec<SetKey>) -> Self {
        let (name, flags) = (ANONYMOUS_NAME, ANONYMOUS | CONSTANT | flags);
        // The kernel chooses a smaller structure for a set whose size it knows.
        let size = Some(u32::try_from(keys.len()).unwrap_or(u32::MAX));
        Self { spec: SetSpec { name, keyed, flags, size, counted: false }, keys }
    }
}

/// The anonymous sets of a rule, in the order in which its words look them up.
pub(super) fn anonymous_sets(rule: &RuleWords) -> Vec<AnonymousSet> {
    rule.iter().filter_map(anonymous_set).collect()
}

fn anonymous_set(word: &Word) -> Option<AnonymousSet> {
    match word {
        Word::NotFrom(names) | Word::NotTo(names) | Word::OutTo(names) if names.len() > 1 => {
            let keys = names.iter().map(|name| SetKey::new(ifname(name))).collect();
            Some(AnonymousSet::new(KeyType::Interface, 0, keys))
        }
        Word::ToPorts(_, ports) if ports.len() > 1 => {
            let keys = ports.iter().flat_map(|range| {
                interval_keys(&range.first.to_be_bytes(), &range.last.to_be_bytes())
            });

            Some(AnonymousSet::new(KeyType::Port, INTERVAL, keys.collect()))
        }
        Word::Icmp(family, types) => {
            let keys = types.iter().map(|(number, _)| SetKey::new([*number])).collect();
            Some(AnonymousSet::new(KeyType::IcmpType(*family), 0, keys))
        }
        _ => None,
    }
}

/// The name as the kernel compares it, filled up with NUL.
pub(super) fn ifname(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(libc::IFNAMSIZ, 0);
    bytes
}
