//! Flows of provisional grants: whoever's packets came first is let in for a moment, and may be
//! somebody who copied them. Flows that begin meanwhile are labelled in conntrack, and each packet
//! of a labelled flow, either way, needs a live grant, whatever the service says of established
//! flows. So such a flow ends with the grant by the kernel's own timers. Once its source holds a
//! grant that is confirmed, the flow's next packet sets it free.

use super::model::{ALL_PROTOCOLS, ChainSpec, FlowLabel, PacketView, RuleWords, Word, grant_sets};
use super::rule_parts::{build_accept_rules, hidden_verdict};
use crate::firewall::address_set::{AddressSet, Family, GrantScope};
use crate::firewall::{Hide, Rules};

/// Live grants for this host, for packets of known flows.
fn host_sets() -> Vec<AddressSet> {
    [GrantScope::Port, GrantScope::All].map(|scope| grant_sets(scope, true)).concat()
}

/// Live grants behind this host, for packets of known flows.
const INSIDE_SETS: [AddressSet; 2] = grant_sets(GrantScope::Inside, true);

/// The chains for this host's services, and where there are some for those behind it.
pub(super) fn build_chains(rules: &Rules) -> Vec<ChainSpec> {
    let mut comes = vec![vec![Word::Labelled(FlowLabel::Confirmed), Word::Return]];
    for family in Family::BOTH {
        comes.extend(
            host_sets()
                .into_iter()
                .map(|set| free_flow(vec![holds_grant(family, PacketView::Comes, set)], family)),
        );
    }
    comes.extend(build_accept_rules(PacketView::Comes, &host_sets(), None));
    comes.extend(
        ALL_PROTOCOLS.map(|p| vec![Word::Is(p), Word::Counter, hidden_verdict(rules.hide, p)]),
    );
    comes.push(vec![Word::Drop]);
    let mut goes = vec![vec![Word::Labelled(FlowLabel::Confirmed), Word::Return]];
    if rules.hide == Hide::Closed {
        // These are our own refusals.
        goes.push(vec![Word::Rst, Word::Accept]);
    }
    goes.extend(build_accept_rules(PacketView::Goes, &host_sets(), None));
    goes.push(vec![Word::Counter, Word::Drop]);
    let mut out = vec![
        ChainSpec { name: "unconfirmed", hook: None, rules: comes },
        ChainSpec { name: "unconfirmed_answers", hook: None, rules: goes },
    ];
    if !rules.forward.is_empty() {
        let mut through = vec![vec![Word::Labelled(FlowLabel::Confirmed), Word::Return]];
        for p in ALL_PROTOCOLS {
            for family in Family::BOTH {
                through.extend(INSIDE_SETS.map(|set| {
                    let conditions = vec![
                        Word::Is(p),
                        Word::Original,
                        holds_grant(family, PacketView::Asked, set),
                    ];
                    free_flow(conditions, family)
                }));
            }
            for (direction, view) in
                [(Word::Original, PacketView::Asked), (Word::Reply, PacketView::Answered)]
            {
                let rules = build_accept_rules(view, &INSIDE_SETS, Some(p));
                through.extend(rules.into_iter().map(|mut rule| {
                    rule.insert(1, direction.clone());
                    rule
                }));
            }
        }
        through.push(vec![Word::Counter, Word::Drop]);
        out.push(ChainSpec { name: "inside_unconfirmed", hook: None, rules: through });
    }
    out
}

/// Rule ahead of whatever accepts known flows.
pub(super) fn check_flows(chain: &'static str) -> RuleWords {
    vec![Word::Labelled(FlowLabel::Provisional), Word::Jump(chain)]
}

/// Rules that label what a provisional grant lets in, ahead of the rules that let it in.
pub(super) fn label_host_flows() -> Vec<RuleWords> {
    let rule = |family, scope| {
        let [set, _] = grant_sets(scope, true);
        label_flow(vec![holds_grant(family, PacketView::Comes, set)], family)
    };
    Family::BOTH
        .into_iter()
        .flat_map(|family| [GrantScope::Port, GrantScope::All].map(|scope| rule(family, scope)))
        .collect()
}

/// The same for services behind this host.
pub(super) fn label_inside_flows() -> Vec<RuleWords> {
    let [set, _] = INSIDE_SETS;
    ALL_PROTOCOLS
        .into_iter()
        .flat_map(|p| {
            Family::BOTH.map(|family| {
                label_flow(vec![Word::Is(p), holds_grant(family, PacketView::Asked, set)], family)
            })
        })
        .collect()
}

fn holds_grant(family: Family, view: PacketView, set: AddressSet) -> Word {
    Word::Held { family, view, set, inside: true }
}

fn provisional(family: Family, inside: bool) -> Word {
    Word::Held { family, view: PacketView::Comes, set: AddressSet::Provisional, inside }
}

/// A live grant lets it through and nothing of its source is provisional any more.
fn free_flow(mut conditions: RuleWords, family: Family) -> RuleWords {
    conditions.extend([
        provisional(family, false),
        Word::Label(FlowLabel::Confirmed),
        Word::Accept,
    ]);
    conditions
}

fn label_flow(mut conditions: RuleWords, family: Family) -> RuleWords {
    conditions.extend([provisional(family, true), Word::Label(FlowLabel::Provisional)]);
    conditions
}
