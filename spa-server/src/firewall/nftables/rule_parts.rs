//! Rules that several chains have.

use super::model::{PacketView, RuleWords, Word};
use crate::domain::ports::Protocol;
use crate::firewall::address_set::{AddressSet, Family};
use crate::firewall::{Hide, Rules};

/// Before the priority that most firewalls use for their input chain (0).
pub(super) const BEFORE_FILTER: i32 = -5;

/// Rules that let loopback and the interfaces without strangers pass.
pub(super) fn build_bypass_rules(rules: &Rules) -> Vec<RuleWords> {
    let mut out = vec![vec![Word::Loopback, Word::Accept]];
    if !rules.interfaces.is_empty() {
        out.push(vec![Word::NotFrom(rules.interfaces.clone()), Word::Accept]);
    }
    out
}

/// Rules that let through what one of the sets holds; with a protocol where the view needs it.
pub(super) fn build_accept_rules(
    view: PacketView,
    sets: &[AddressSet],
    protocol: Option<Protocol>,
) -> Vec<RuleWords> {
    let rule = |family, set| {
        let mut rule: RuleWords = protocol.map(Word::Is).into_iter().collect();
        rule.extend([Word::Held { family, view, set, inside: true }, Word::Accept]);
        rule
    };
    Family::BOTH
        .into_iter()
        .flat_map(|family| sets.iter().map(move |set| rule(family, *set)))
        .collect()
}

/// Verdict at a hidden port.
pub(super) fn hidden_verdict(hide: Hide, protocol: Protocol) -> Word {
    match (hide, protocol) {
        (Hide::Drop, _) => Word::Drop,
        (Hide::Closed, Protocol::Tcp) => Word::Reset,
        (Hide::Closed, Protocol::Udp) => Word::Unreachable,
    }
}
