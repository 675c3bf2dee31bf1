//! Flows that live only as long as a grant (`established = "drop"`): each packet of such a port,
//! either way, is looked up again, whatever conntrack knows. So the end of a grant's time cuts too,
//! and needs no process of ours.

use super::abi;
use super::model::{
    ALL_PROTOCOLS, ChainHook, ChainSpec, PacketView, PortClass, RuleWords, Word, grant_sets,
};
use super::rule_parts::{BEFORE_FILTER, build_accept_rules, hidden_verdict};
use crate::firewall::address_set::{AddressSet, GrantScope};
use crate::firewall::{Hide, Rules};

/// Live grants for this host, for packets of known flows.
fn flow_sets() -> Vec<AddressSet> {
    [GrantScope::Port, GrantScope::All].map(|scope| grant_sets(scope, true)).concat()
}

/// The chains that `input` and `output` go to.
pub(super) fn build_chains(rules: &Rules) -> Vec<ChainSpec> {
    if rules.bound.is_empty() {
        return Vec::new();
    }
    let mut comes = build_accept_rules(PacketView::Comes, &flow_sets(), None);
    comes.extend(
        ALL_PROTOCOLS.map(|p| vec![Word::Is(p), Word::Counter, hidden_verdict(rules.hide, p)]),
    );
    let mut answers = Vec::new();
    if rules.hide == Hide::Closed {
        // These are our own refusals to strangers.
        answers.push(vec![Word::Rst, Word::Accept]);
    }
    answers.extend(build_accept_rules(PacketView::Goes, &flow_sets(), None));
    answers.push(vec![Word::Counter, Word::Drop]);
    let mut output = vec![vec![Word::LoopbackOut, Word::Accept]];
    if !rules.interfaces.is_empty() {
        output.push(vec![Word::NotTo(rules.interfaces.clone()), Word::Accept]);
    }
    output.extend(
        ALL_PROTOCOLS.map(|p| vec![Word::From(p, PortClass::Bound.set(p)), Word::Jump("answers")]),
    );
    vec![
        ChainSpec { name: "bound", hook: None, rules: comes },
        ChainSpec { name: "answers", hook: None, rules: answers },
        ChainSpec {
            name: "output",
            hook: Some(ChainHook {
                kind: "filter",
                name: "output",
                number: abi::HOOK_OUTPUT,
                priority: BEFORE_FILTER,
                drop: false,
            }),
            rules: output,
        },
    ]
}

/// Rules of `input` before it lets known flows through.
///
/// Either direction of conntrack's: when an entry is gone, what the service sends next makes one
/// the other way round, and the client's packets would be its answers. (The chain `output` sees to
/// it that this does not come to pass.)
pub(super) fn build_input_rules(rules: &Rules) -> Vec<RuleWords> {
    if rules.bound.is_empty() {
        return Vec::new();
    }
    ALL_PROTOCOLS
        .map(|p| vec![Word::Established, Word::To(p, PortClass::Bound.set(p)), Word::Jump("bound")])
        .to_vec()
}
