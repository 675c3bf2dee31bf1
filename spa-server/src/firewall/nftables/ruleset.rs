//! `Rules` made into sets and chains. This file decides who gets through; the others only say it.

use super::abi;
use super::ban_chains::{self, ICMP_ERRORS, LIVE_GRANT_SETS};
use super::model::{
    ALL_PROTOCOLS, BAIT_PREFIX, ChainHook, ChainSpec, KNOCK_SET, KeyType, PacketView, PortClass,
    RuleWords, SetSpec, Word, grant_sets,
};
use super::rule_parts::{
    BEFORE_FILTER, build_accept_rules, build_bypass_rules, build_known_chain, build_known_rule,
    hidden_verdict,
};
use super::{bound_chains, forward_chains, unconfirmed_chains};
use crate::domain::ports::{PortRange, Protocol, merge_ports};
use crate::firewall::address_set::{AddressSet, Family, GrantScope};
use crate::firewall::{Authenticated, Bait, Hide, Mode, Rules};

/// Most live grants, in elements of one set.
const MAX_GRANTS: u32 = 65_536;
/// Most sources in the middle of a sequence, per family.
const MAX_SEQUENCES: u32 = 65_536;
/// Before raw (-300) and conntrack (-200), after defragmentation (-400).
const BEFORE_CONNTRACK: i32 = -310;
/// Chain for first packets whose port somebody's NAT has changed.
const REDIRECTED_CHAIN: &str = "redirected";

/// ICMP errors for IPv6, and what keeps it on its link: multicast listener and neighbour discovery
/// (RFC 4443, RFC 4861, RFC 3810; the list is RFC 4890 §4.4.1 without echo).
const ALLOWED_ICMPV6: &[(u8, &str)] = &[
    (1, "destination-unreachable"),
    (2, "packet-too-big"),
    (3, "time-exceeded"),
    (4, "parameter-problem"),
    (130, "mld-listener-query"),
    (131, "mld-listener-report"),
    (132, "mld-listener-done"),
    (133, "nd-router-solicit"),
    (134, "nd-router-advert"),
    (135, "nd-neighbor-solicit"),
    (136, "nd-neighbor-advert"),
    (143, "mld2-listener-report"),
];

/// Neighbour discovery (RFC 4861 §4), IPv6's ARP. The kernel takes it from the link only.
const NEIGHBOUR_DISCOVERY: &[(u8, &str)] = &[
    (133, "nd-router-solicit"),
    (134, "nd-router-advert"),
    (135, "nd-neighbor-solicit"),
    (136, "nd-neighbor-advert"),
];

/// ICMP errors about the header or the reassembly of what a stranger has sent (RFC 792, RFC 4443
/// §3.3, §3.4).
const TELLING_ICMP: &[(u8, &str)] = &[(11, "time-exceeded"), (12, "parameter-problem")];
const TELLING_ICMPV6: &[(u8, &str)] = &[(3, "time-exceeded"), (4, "parameter-problem")];

/// The sets, in the order in which they are made.
pub(super) fn build_sets(rules: &Rules) -> Vec<SetSpec> {
    use abi::set::{CONCAT, EVAL, INTERVAL, TIMEOUT};
    let mut sets = Vec::new();
    let mut push = |set: AddressSet, flags, size| {
        for family in Family::BOTH {
            let keyed = KeyType::Address(family, set.form());
            sets.push(SetSpec {
                name: set.name(family),
                keyed,
                flags,
                size,
                counted: set.counts(),
            });
        }
    };
    for grants in AddressSet::grants() {
        let interval = if grants.is_wide() { INTERVAL | CONCAT } else { 0 };
        push(grants, TIMEOUT | interval, Some(MAX_GRANTS));
    }
    push(AddressSet::Provisional, TIMEOUT, Some(MAX_GRANTS));
    push(AddressSet::Sequence, TIMEOUT, Some(MAX_SEQUENCES));
    // A size of 0 would mean no bound at all to the kernel.
    push(AddressSet::Ban, TIMEOUT | EVAL, Some(rules.ban_limit.max(1)));
    push(AddressSet::Never, INTERVAL, None);
    let ports = PortClass::ALL.into_iter().flat_map(|class| ALL_PROTOCOLS.map(|p| class.set(p)));
    for name in [KNOCK_SET].into_iter().chain(ports) {
        sets.push(SetSpec {
            name,
            keyed: KeyType::Port,
            flags: INTERVAL,
            size: None,
            counted: false,
        });
    }
    sets
}

/// The chains, callee before caller. `fib` is false on a kernel without the fib expression.
pub(super) fn build_chains(rules: &Rules, fib: bool) -> Vec<ChainSpec> {
    let hook = |name, number, priority, drop| {
        Some(ChainHook { kind: "filter", name, number, priority, drop })
    };
    let standalone = rules.mode == Mode::Standalone;
    let mut out = vec![build_known_chain(), ban_chains::build_chain()];
    out.extend(unconfirmed_chains::build_chains(rules));
    out.extend(bound_chains::build_chains(rules));
    out.extend(forward_chains::build_chains(rules, fib));
    out.extend([
        ChainSpec { name: REDIRECTED_CHAIN, hook: None, rules: build_redirected_rules(rules) },
        ChainSpec { name: "bait", hook: None, rules: build_bait_rules(rules) },
        ChainSpec {
            name: "pre",
            hook: hook("prerouting", abi::HOOK_PREROUTING, BEFORE_CONNTRACK, false),
            rules: build_pre_rules(rules, fib),
        },
        ChainSpec {
            name: "out",
            hook: hook("output", abi::HOOK_OUTPUT, BEFORE_CONNTRACK, false),
            rules: build_out_rules(rules),
        },
        ChainSpec {
            name: "input",
            hook: hook("input", abi::HOOK_INPUT, BEFORE_FILTER, standalone),
            rules: build_input_rules(rules, fib),
        },
    ]);
    out
}

fn build_pre_rules(rules: &Rules, fib: bool) -> Vec<RuleWords> {
    let mut out = build_bypass_rules(rules, fib);
    out.extend(build_knock_rules(rules, fib));
    out
}

fn build_out_rules(rules: &Rules) -> Vec<RuleWords> {
    // Acks leave from a knock port; a table full of them would be the flood's second victim.
    let mut out = vec![vec![Word::From(Protocol::Udp, KNOCK_SET), Word::Notrack]];
    if rules.mode == Mode::Standalone && rules.hide == Hide::Drop {
        // Headers that cannot be read and fragments that stay alone are answered before any hook of
        // ours has seen the packet, or without one.
        let outward = (!rules.interfaces.is_empty()).then(|| Word::OutTo(rules.interfaces.clone()));
        out.extend([(Family::V4, TELLING_ICMP), (Family::V6, TELLING_ICMPV6)].map(
            |(family, types)| {
                let rest = [Word::Icmp(family, types), Word::Counter, Word::Drop];
                outward.iter().cloned().chain(rest).collect()
            },
        ));
    }
    if rules.hide == Hide::Closed {
        // The kernel's own resets repeat the code point of what they answer and carry a flow label
        // (net.ipv6.auto_flowlabels), those of a rule have neither: a stranger would tell
        // hidden ports from closed ones.
        out.extend(Family::BOTH.map(|family| vec![Word::Rst, Word::Plain(family)]));
    }
    out
}

/// Rules for a knock, ahead of conntrack and of every foreign drop.
fn build_knock_rules(rules: &Rules, fib: bool) -> Vec<RuleWords> {
    let mut is_knock = vec![Word::To(Protocol::Udp, KNOCK_SET)];
    if fib {
        // A gateway must not swallow what it forwards to the same port of an inside host.
        is_knock.push(Word::Local);
    }
    let rule = |end: &[Word]| is_knock.iter().chain(end).cloned().collect::<RuleWords>();
    let mut out = Vec::new();
    if let Some(group) = rules.knock_nflog {
        if rules.authenticated == Authenticated::Strict {
            out.extend(ban_chains::build_rules_with(
                rules,
                &is_knock,
                &[Word::Counter, Word::Drop],
            ));
        }
        out.push(rule(&[Word::Log { group, prefix: String::new(), at_once: true }]));
    }
    // No drop: where a bridge hands its packets to this hook (bridge-nf-call-iptables) they come
    // here before the packet socket of the ring has seen them.
    out.push(match rules.knock_accept {
        true => rule(&[Word::Notrack, Word::Accept]),
        false => rule(&[Word::Notrack]),
    });
    out
}

fn build_input_rules(rules: &Rules, fib: bool) -> Vec<RuleWords> {
    let mut out = build_bypass_rules(rules, fib);
    // As ARP does for IPv4, this passes: else one packet forged from fe80:: at a bait would ban the
    // router's own /64 and take the host off the network. And conntrack knows no flow of these, so
    // they would count as connections of a grant for everything.
    out.push(vec![Word::Icmp(Family::V6, NEIGHBOUR_DISCOVERY), Word::Accept]);
    // A silent capture has read it. With `closed` nobody listens there: the kernel itself refuses
    // it, as it does any closed port.
    if !rules.knock_accept && rules.hide == Hide::Drop {
        out.push(vec![Word::To(Protocol::Udp, KNOCK_SET), Word::Drop]);
    }
    // The bans come first, but for one case: a knock lifts a ban (pardon), and a bound socket reads
    // it behind this chain. What a banned source gains is that its datagrams to the knock ports are
    // read; to the others of `closed` they are as silent as all its packets.
    let bans = ban_chains::build_rules(rules);
    // Before the baits, so that a range of baits may surround the knock ports.
    let knock = vec![Word::To(Protocol::Udp, KNOCK_SET), Word::Accept];
    if rules.knock_accept && rules.authenticated == Authenticated::Pardon {
        out.push(knock);
        out.extend(bans);
    } else {
        out.extend(bans);
        out.extend((rules.knock_accept || rules.hide == Hide::Closed).then_some(knock));
    }
    out.push(unconfirmed_chains::check_flows("unconfirmed"));
    out.extend(bound_chains::build_input_rules(rules));
    out.push(build_known_rule());
    let first_packet_sets =
        [GrantScope::Port, GrantScope::All].map(|scope| grant_sets(scope, false)).concat();
    out.extend(unconfirmed_chains::label_host_flows());
    out.extend(build_accept_rules(PacketView::Comes, &first_packet_sets, None));
    out.push(vec![Word::Redirected, Word::Jump(REDIRECTED_CHAIN)]);
    if !rules.baits.is_empty() {
        out.push(vec![Word::Syn, Word::Jump("bait")]);
        out.push(vec![Word::Is(Protocol::Udp), Word::New, Word::Jump("bait")]);
    }
    for protocol in ALL_PROTOCOLS {
        out.push(vec![
            Word::To(protocol, PortClass::Protected.set(protocol)),
            Word::Counter,
            hidden_verdict(rules.hide, protocol),
        ]);
    }
    if rules.mode == Mode::Standalone {
        out.push(vec![Word::Icmp(Family::V4, ICMP_ERRORS), Word::Accept]);
        out.push(vec![Word::Icmp(Family::V6, ALLOWED_ICMPV6), Word::Accept]);
        out.push(vec![Word::Dhcp4, Word::Accept]);
        out.push(vec![Word::Dhcp6, Word::Accept]);
        if rules.hide == Hide::Closed {
            // Only what a closed port would answer; the rest, echo included, ends in the policy.
            out.extend(ALL_PROTOCOLS.map(|p| vec![Word::Is(p), hidden_verdict(Hide::Closed, p)]));
        }
    }
    out
}

/// Rules for first packets that somebody's NAT has sent to another port of this host: the one that
/// they asked for may be hidden.
fn build_redirected_rules(rules: &Rules) -> Vec<RuleWords> {
    let sets = grant_sets(GrantScope::Port, false);
    let accept = |p: &Protocol| build_accept_rules(PacketView::Asked, &sets, Some(*p));
    let mut out: Vec<RuleWords> = ALL_PROTOCOLS.iter().flat_map(accept).collect();
    out.extend(ALL_PROTOCOLS.map(|p| {
        let hidden = PortClass::Protected.set(p);
        vec![Word::Asked(p, hidden), Word::Counter, hidden_verdict(rules.hide, p)]
    }));
    out
}

/// The source, with its protocol and port where the set asks for them, is in the set, or is not.
fn source_in(family: Family, set: AddressSet, inside: bool) -> Word {
    Word::Held { family, view: PacketView::Comes, set, inside }
}

/// Rules for first packets of flows.
fn build_bait_rules(rules: &Rules) -> Vec<RuleWords> {
    let source =
        |set| Family::BOTH.map(move |family| vec![source_in(family, set, true), Word::Return]);
    let mut out: Vec<RuleWords> = Vec::new();
    if rules.baits.is_empty() {
        return out;
    }
    out.extend(source(AddressSet::Never));
    if rules.authenticated == Authenticated::Pardon {
        // One forged SYN would else lock a client out that has just proved who it is.
        out.extend(LIVE_GRANT_SETS.into_iter().flat_map(source));
    }
    for group in &rules.baits {
        for protocol in ALL_PROTOCOLS {
            let ports =
                merge_ports(group.ports.iter().filter(|p| p.protocol == protocol).map(|p| p.range));
            if !ports.is_empty() {
                out.extend(build_bait_group_rules(rules, group, protocol, &ports));
            }
        }
    }
    out
}

fn build_bait_group_rules(
    rules: &Rules,
    group: &Bait,
    protocol: Protocol,
    ports: &[PortRange],
) -> Vec<RuleWords> {
    let excused = |family| {
        let mut words = vec![Word::ToPorts(protocol, ports.to_vec())];
        if group.unless_secured {
            words.extend(LIVE_GRANT_SETS.map(|set| source_in(family, set, false)));
        }
        if group.unless_in_sequence {
            words.push(source_in(family, AddressSet::Sequence, false));
        }
        words
    };
    let mut out = Vec::new();
    for family in Family::BOTH {
        let mut rule = excused(family);
        rule.extend([
            Word::Ban(family, group.ban),
            Word::Counter,
            Word::Log {
                group: rules.bait_nflog,
                prefix: format!("{}{} ", BAIT_PREFIX, group.name),
                at_once: true,
            },
        ]);
        out.push(rule);
    }
    // A full set ends the rules above at the ban: the verdict must stand on its own, or the bait
    // would open for whoever fills the set with forged addresses.
    let verdict = hidden_verdict(rules.hide, protocol);
    if group.unless_secured || group.unless_in_sequence {
        for family in Family::BOTH {
            let mut rule = excused(family);
            rule.push(verdict.clone());
            out.push(rule);
        }
    } else {
        out.push(vec![Word::ToPorts(protocol, ports.to_vec()), verdict]);
    }
    out
}
