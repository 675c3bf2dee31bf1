//! The gateway: services on hosts and in containers behind this one (`hook = "forward"`).
//!
//! A port is the one that the client asked for: where NAT, ours or another's, has changed it,
//! conntrack still knows it. Our own NAT asks the sets of live grants, so it too ends with the
//! grant's time; a stranger's packet is sent on nowhere.

use super::model::{
    ALL_PROTOCOLS, ChainHook, ChainSpec, PacketView, PortClass, RuleWords, Word, grant_sets,
};
use super::rule_parts::{
    BEFORE_FILTER, build_accept_rules, build_bypass_rules, build_inside_rule, build_known_rule,
    hidden_verdict,
};
use super::{abi, ban_chains, unconfirmed_chains};
use crate::domain::ports::{PortRange, Protocol, merge_ports};
use crate::firewall::address_set::{AddressSet, Family, GrantScope};
use crate::firewall::{Forward, Rules};

/// Live grants, for first packets and for packets of known flows.
const FIRST_PACKET_SETS: [AddressSet; 2] = grant_sets(GrantScope::Inside, false);
const KNOWN_FLOW_SETS: [AddressSet; 2] = grant_sets(GrantScope::Inside, true);
/// Before the priority that others use for their destination NAT (-100): the first one that
/// translates a flow has it.
pub(super) const BEFORE_DNAT: i32 = -105;

/// The chains, callee before caller. Bans hold for hosts behind this one as well, whether or not a
/// service is there.
pub(super) fn build_chains(rules: &Rules, fib: bool) -> Vec<ChainSpec> {
    let mut out = Vec::new();
    if !PortClass::ForwardBound.ports(rules).is_empty() {
        for (name, view) in [
            ("inside_bound", PacketView::Asked),
            ("inside_answers", PacketView::Answered),
            ("inside_calls", PacketView::Goes),
            ("inside_called", PacketView::Comes),
        ] {
            let mut through: Vec<RuleWords> = ALL_PROTOCOLS
                .iter()
                .flat_map(|p| build_accept_rules(view, &KNOWN_FLOW_SETS, Some(*p)))
                .collect();
            // A refusal only where it goes back to the client.
            if view == PacketView::Asked {
                through.extend(
                    ALL_PROTOCOLS
                        .map(|p| vec![Word::Is(p), Word::Counter, hidden_verdict(rules.hide, p)]),
                );
            } else {
                through.push(vec![Word::Counter, Word::Drop]);
            }
            out.push(ChainSpec { name, hook: None, rules: through });
        }
    }
    let hook = |kind, name, number, priority| {
        Some(ChainHook { kind, name, number, priority, drop: false })
    };
    out.push(ChainSpec {
        name: "forward",
        hook: hook("filter", "forward", abi::HOOK_FORWARD, BEFORE_FILTER),
        rules: build_forward_rules(rules),
    });
    if rules.forward.iter().any(|f| f.to.is_some()) {
        let mut nat = build_bypass_rules(rules, fib);
        nat.extend(rules.forward.iter().flat_map(|f| build_nat_rules(f, fib)));
        // `dnat` is a word of nft's and cannot be a name.
        out.push(ChainSpec {
            name: "send_on",
            hook: hook("nat", "prerouting", abi::HOOK_PREROUTING, BEFORE_DNAT),
            rules: nat,
        });
    }
    out
}

fn build_forward_rules(rules: &Rules) -> Vec<RuleWords> {
    // Ahead of the interfaces: answers come from within.
    let check = unconfirmed_chains::check_flows("inside_unconfirmed");
    let mut out = Vec::from_iter((!rules.forward.is_empty()).then_some(check));
    if !PortClass::ForwardBound.ports(rules).is_empty() {
        let outward = |rest: Vec<Word>| {
            let to = (!rules.interfaces.is_empty()).then(|| Word::OutTo(rules.interfaces.clone()));
            to.into_iter().chain(rest).collect::<RuleWords>()
        };
        for p in ALL_PROTOCOLS {
            out.push(outward(vec![
                Word::Reply,
                Word::Asked(p, PortClass::ForwardBound.set(p)),
                Word::Jump("inside_answers"),
            ]));
            // When conntrack's entry is gone, what the inner host sends next begins a flow of its
            // own.
            out.push(outward(vec![
                Word::Original,
                Word::From(p, PortClass::ForwardBound.set(p)),
                Word::Jump("inside_calls"),
            ]));
        }
    }
    out.extend(build_inside_rule(rules));
    out.extend(ban_chains::build_rules(rules));
    if rules.forward.is_empty() {
        return out;
    }
    if !PortClass::ForwardBound.ports(rules).is_empty() {
        for p in ALL_PROTOCOLS {
            out.push(vec![
                Word::Established,
                Word::Original,
                Word::Asked(p, PortClass::ForwardBound.set(p)),
                Word::Jump("inside_bound"),
            ]);
            out.push(vec![
                Word::Reply,
                Word::To(p, PortClass::ForwardBound.set(p)),
                Word::Jump("inside_called"),
            ]);
        }
    }
    out.push(build_known_rule());
    if !rules.forward.is_empty() {
        out.extend(unconfirmed_chains::label_inside_flows());
    }
    for p in ALL_PROTOCOLS {
        out.extend(build_accept_rules(PacketView::Asked, &FIRST_PACKET_SETS, Some(p)));
    }
    for p in ALL_PROTOCOLS {
        out.push(vec![
            Word::Asked(p, PortClass::Forward.set(p)),
            Word::Counter,
            hidden_verdict(rules.hide, p),
        ]);
        // Of these conntrack knows nothing, and nobody has translated them.
        out.push(vec![
            Word::Untracked,
            Word::To(p, PortClass::Forward.set(p)),
            Word::Counter,
            hidden_verdict(rules.hide, p),
        ]);
    }
    out.extend(build_turned_rules(rules));
    out
}

/// Rules for packets that begin a connection to an inner host, and of which conntrack believes that
/// they belong to a flow which that host has begun or announced. They have asked for no port.
fn build_turned_rules(rules: &Rules) -> Vec<RuleWords> {
    let inner = |protocol: Protocol| {
        let of = rules.forward.iter().flat_map(|f| {
            let port = f.to.and_then(|to| to.port).map(PortRange::one);
            f.ports
                .iter()
                .filter(move |p| p.protocol == protocol)
                .map(move |p| port.unwrap_or(p.range))
        });
        Some(merge_ports(of)).filter(|ports| !ports.is_empty())
    };
    let mut out = Vec::new();
    for protocol in ALL_PROTOCOLS {
        let Some(ports) = inner(protocol) else { continue };
        let to = Word::ToPorts(protocol, ports);
        let end = [Word::Counter, hidden_verdict(rules.hide, protocol)];
        if protocol == Protocol::Tcp {
            out.push([&[Word::Syn, Word::Reply, to.clone()], &end[..]].concat());
        }
        out.push([&[Word::Related, to], &end[..]].concat());
    }
    out
}

/// First packets of granted sources go to the inner host; conntrack sends the rest after them.
fn build_nat_rules(forward: &Forward, fib: bool) -> Vec<RuleWords> {
    let Some(to) = forward.to else { return Vec::new() };
    let family = if to.address.is_ipv4() { Family::V4 } else { Family::V6 };
    let mut out = Vec::new();
    for protocol in ALL_PROTOCOLS {
        let ports =
            merge_ports(forward.ports.iter().filter(|p| p.protocol == protocol).map(|p| p.range));
        if ports.is_empty() {
            continue;
        }
        for set in KNOWN_FLOW_SETS {
            let mut rule = vec![Word::ToPorts(protocol, ports.clone())];
            if fib {
                // What only passes through to the same port elsewhere is not for us.
                rule.push(Word::Local);
            }
            rule.push(Word::Held { family, view: PacketView::Comes, set, inside: true });
            rule.push(Word::SendOn(to));
            out.push(rule);
        }
    }
    out
}
