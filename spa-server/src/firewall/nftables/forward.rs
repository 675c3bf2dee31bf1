//! The gateway: services on hosts and in containers behind this one (`hook = "forward"`).
//!
//! A port is the one that the client asked for: where NAT, ours or another's, has changed it,
//! conntrack still knows it. Our own NAT asks the sets of live grants, so it too ends with the
//! grant's time; a stranger's packet is sent on nowhere.

use super::abi;
use super::bound::let_through;
use super::model::{
    Chain, Family, Hook, INSIDE, INSIDE_FLOW, INSIDE_FLOW_WIDE, INSIDE_WIDE, Pair, Rule, View,
    Word, forward_bound, forwarded,
};
use super::ruleset::{BEFORE_FILTER, PROTOCOLS, hidden, merged, not_ours};
use crate::domain::ports::{ProtoPorts, Protocol};
use crate::firewall::{Established, Forward, Rules};

/// Where live grants stand, asked for first packets, and for packets of known flows.
const FIRST: [Pair; 2] = [INSIDE, INSIDE_WIDE];
const KNOWN: [Pair; 2] = [INSIDE_FLOW, INSIDE_FLOW_WIDE];
/// Before the priority that others use for their destination NAT (-100): the first one that
/// translates a flow has it.
const BEFORE_DNAT: i32 = -105;

/// The ports of all, or of those whose flows need a live grant.
pub(super) fn ports(rules: &Rules, bound_only: bool) -> Vec<ProtoPorts> {
    let these = rules.forward.iter().filter(|f| !bound_only || f.established == Established::Drop);
    these.flat_map(|f| f.ports.iter().copied()).collect()
}

/// The chains, callee before caller; none without a service behind this host.
pub(super) fn chains(rules: &Rules, fib: bool) -> Vec<Chain> {
    if rules.forward.is_empty() {
        return Vec::new();
    }
    let mut out = Vec::new();
    if !ports(rules, true).is_empty() {
        for (name, view) in [
            ("inside_bound", View::Asked),
            ("inside_answers", View::Answered),
            ("inside_calls", View::Goes),
            ("inside_called", View::Comes),
        ] {
            let mut through: Vec<Rule> =
                PROTOCOLS.iter().flat_map(|p| let_through(view, &KNOWN, Some(*p))).collect();
            // A refusal only where it goes back to the client.
            if view == View::Asked {
                through.extend(
                    PROTOCOLS.map(|p| vec![Word::Is(p), Word::Counter, hidden(rules.hide, p)]),
                );
            } else {
                through.push(vec![Word::Counter, Word::Drop]);
            }
            out.push(Chain { name, hook: None, rules: through });
        }
    }
    let hook =
        |kind, name, number, priority| Some(Hook { kind, name, number, priority, drop: false });
    out.push(Chain {
        name: "forward",
        hook: hook("filter", "forward", abi::FORWARD, BEFORE_FILTER),
        rules: forward(rules),
    });
    if rules.forward.iter().any(|f| f.to.is_some()) {
        let mut nat = not_ours(rules);
        nat.extend(rules.forward.iter().flat_map(|f| sent_on(f, fib)));
        // `dnat` is a word of nft's and cannot be a name.
        out.push(Chain {
            name: "send_on",
            hook: hook("nat", "prerouting", abi::PREROUTING, BEFORE_DNAT),
            rules: nat,
        });
    }
    out
}

fn forward(rules: &Rules) -> Vec<Rule> {
    let mut out = Vec::new();
    if !ports(rules, true).is_empty() {
        let outward = |rest: Vec<Word>| {
            let to = (!rules.interfaces.is_empty()).then(|| Word::OutTo(rules.interfaces.clone()));
            to.into_iter().chain(rest).collect::<Rule>()
        };
        for p in PROTOCOLS {
            out.push(outward(vec![
                Word::Reply,
                Word::Asked(p, forward_bound(p)),
                Word::Jump("inside_answers"),
            ]));
            // When conntrack's entry is gone, what the inner host sends next begins a flow of its
            // own.
            out.push(outward(vec![
                Word::Original,
                Word::From(p, forward_bound(p)),
                Word::Jump("inside_calls"),
            ]));
        }
    }
    if !rules.interfaces.is_empty() {
        out.push(vec![Word::NotFrom(rules.interfaces.clone()), Word::Accept]);
    }
    if !ports(rules, true).is_empty() {
        for p in PROTOCOLS {
            out.push(vec![
                Word::Established,
                Word::Original,
                Word::Asked(p, forward_bound(p)),
                Word::Jump("inside_bound"),
            ]);
            out.push(vec![Word::Reply, Word::To(p, forward_bound(p)), Word::Jump("inside_called")]);
        }
    }
    out.push(vec![Word::Established, Word::Accept]);
    for p in PROTOCOLS {
        out.extend(let_through(View::Asked, &FIRST, Some(p)));
    }
    for p in PROTOCOLS {
        out.push(vec![Word::Asked(p, forwarded(p)), Word::Counter, hidden(rules.hide, p)]);
        // Of these conntrack knows nothing, and nobody has translated them.
        out.push(vec![
            Word::Untracked,
            Word::To(p, forwarded(p)),
            Word::Counter,
            hidden(rules.hide, p),
        ]);
    }
    out
}

/// First packets of granted sources go to the inner host; conntrack sends the rest after them.
fn sent_on(forward: &Forward, fib: bool) -> Vec<Rule> {
    let Some(to) = forward.to else { return Vec::new() };
    let family = if to.address.is_ipv4() { Family::V4 } else { Family::V6 };
    let mut out = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let ports =
            merged(forward.ports.iter().filter(|p| p.protocol == protocol).map(|p| p.range));
        if ports.is_empty() {
            continue;
        }
        for set in KNOWN {
            let mut rule = vec![Word::ToPorts(protocol, ports.clone())];
            if fib {
                // What only passes through to the same port elsewhere is not for us.
                rule.push(Word::Local);
            }
            rule.push(Word::Held { family, view: View::Comes, set, inside: true });
            rule.push(Word::SendOn(to));
            out.push(rule);
        }
    }
    out
}
