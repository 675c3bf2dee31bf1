//! Flows that live only as long as a grant (`established = "drop"`): each packet of such a port,
//! either way, is looked up again, whatever conntrack knows. So the end of a grant's time cuts too,
//! and needs no process of ours.

use super::abi;
use super::model::{
    ALL_FLOW, ALL_FLOW_WIDE, Chain, FLOW, FLOW_WIDE, Family, Hook, Pair, Rule, View, Word, bound,
};
use super::ruleset::{BEFORE_FILTER, PROTOCOLS, hidden};
use crate::domain::ports::Protocol;
use crate::firewall::{Hide, Rules};

/// Where live grants for this host stand.
const HERE: [Pair; 4] = [FLOW, FLOW_WIDE, ALL_FLOW, ALL_FLOW_WIDE];

/// Lets those through that one of the sets holds; with a protocol where the view needs it.
pub(super) fn let_through(view: View, sets: &[Pair], protocol: Option<Protocol>) -> Vec<Rule> {
    let rule = |family, set| {
        let mut rule: Rule = protocol.map(Word::Is).into_iter().collect();
        rule.extend([Word::Held { family, view, set, inside: true }, Word::Accept]);
        rule
    };
    Family::BOTH
        .into_iter()
        .flat_map(|family| sets.iter().map(move |set| rule(family, *set)))
        .collect()
}

/// The chains that `input` and `output` go to.
pub(super) fn chains(rules: &Rules) -> Vec<Chain> {
    if rules.bound.is_empty() {
        return Vec::new();
    }
    let mut comes = let_through(View::Comes, &HERE, None);
    comes.extend(PROTOCOLS.map(|p| vec![Word::Is(p), Word::Counter, hidden(rules.hide, p)]));
    let mut answers = Vec::new();
    if rules.hide == Hide::Closed {
        // These are our own refusals to strangers.
        answers.push(vec![Word::Rst, Word::Accept]);
    }
    answers.extend(let_through(View::Goes, &HERE, None));
    answers.push(vec![Word::Counter, Word::Drop]);
    let mut output = vec![vec![Word::LoopbackOut, Word::Accept]];
    if !rules.interfaces.is_empty() {
        output.push(vec![Word::NotTo(rules.interfaces.clone()), Word::Accept]);
    }
    output.extend(PROTOCOLS.map(|p| vec![Word::From(p, bound(p)), Word::Jump("answers")]));
    vec![
        Chain { name: "bound", hook: None, rules: comes },
        Chain { name: "answers", hook: None, rules: answers },
        Chain {
            name: "output",
            hook: Some(Hook {
                kind: "filter",
                name: "output",
                number: abi::OUTPUT,
                priority: BEFORE_FILTER,
                drop: false,
            }),
            rules: output,
        },
    ]
}

/// What `input` does before it lets known flows through.
///
/// Either direction of conntrack's: when an entry is gone, what the service sends next makes one
/// the other way round, and the client's packets would be its answers. (The chain `output` sees to
/// it that this does not come to pass.)
pub(super) fn input(rules: &Rules) -> Vec<Rule> {
    if rules.bound.is_empty() {
        return Vec::new();
    }
    PROTOCOLS.map(|p| vec![Word::Established, Word::To(p, bound(p)), Word::Jump("bound")]).to_vec()
}
