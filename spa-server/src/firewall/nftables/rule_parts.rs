//! Rules that several chains have.

use super::model::{ChainSpec, PacketView, RuleWords, Word};
use crate::domain::ports::Protocol;
use crate::firewall::address_set::{AddressSet, Family};
use crate::firewall::{Hide, Rules};

/// Before the priority that most firewalls use for their input chain (0).
pub(super) const BEFORE_FILTER: i32 = -5;

/// The loopback interface, which has this name in every namespace.
const LOOPBACK_NAME: &str = "lo";
/// Chain for packets of established flows.
const KNOWN_CHAIN: &str = "known";

/// Rules that let loopback and the interfaces without strangers pass.
///
/// Whoever has a packet socket can put a stranger's packet on loopback. So the interface alone
/// proves nothing: only this host's own addresses do. `fib` is false on a kernel without the fib
/// expression, where this cannot be asked.
pub(super) fn build_bypass_rules(rules: &Rules, fib: bool) -> Vec<RuleWords> {
    let local = fib.then_some(Word::FromLocal);
    let loopback = [Word::Loopback].into_iter().chain(local).chain([Word::Accept]);
    [loopback.collect()].into_iter().chain(build_inside_rule(rules)).collect()
}

/// The rule that lets the interfaces without strangers pass; loopback is none of them.
pub(super) fn build_inside_rule(rules: &Rules) -> Option<RuleWords> {
    let mut names = rules.interfaces.clone();
    if names.is_empty() {
        return None;
    }
    if !names.iter().any(|name| name == LOOPBACK_NAME) {
        names.push(LOOPBACK_NAME.to_owned());
    }
    Some(vec![Word::NotFrom(names), Word::Accept])
}

/// The chain that lets packets of established flows pass, but for those that begin a connection.
///
/// After a reset by the service conntrack keeps the flow for seconds, and takes a new connection
/// between the same ports for its continuation.
pub(super) fn build_known_chain() -> ChainSpec {
    let rules = vec![vec![Word::Syn, Word::Return], vec![Word::Accept]];
    ChainSpec { name: KNOWN_CHAIN, hook: None, rules }
}

/// The rule that sends packets of established flows there. Nothing else that conntrack says lets
/// pass: `related` is whatever an open connection has announced, by a program without rights.
pub(super) fn build_known_rule() -> RuleWords {
    vec![Word::Established, Word::Jump(KNOWN_CHAIN)]
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
