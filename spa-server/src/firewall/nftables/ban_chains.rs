//! Who is banned, and what a ban leaves alone: this host's own flows.

use super::model::{ChainSpec, PacketView, RuleWords, Word, grant_sets};
use crate::firewall::address_set::{AddressSet, Family, GrantScope};
use crate::firewall::{Authenticated, Rules};

/// ICMP errors that path MTU discovery and open connections live on (RFC 792, RFC 1191).
pub(super) const ICMP_ERRORS: &[(u8, &str)] =
    &[(3, "destination-unreachable"), (11, "time-exceeded"), (12, "parameter-problem")];
/// The same for IPv6 (RFC 4443).
const ICMPV6_ERRORS: &[(u8, &str)] = &[
    (1, "destination-unreachable"),
    (2, "packet-too-big"),
    (3, "time-exceeded"),
    (4, "parameter-problem"),
];
/// Multicast listener discovery (RFC 2710, RFC 3810): without it switches keep neighbour discovery
/// from this host.
const MULTICAST_LISTENERS: &[(u8, &str)] = &[
    (130, "mld-listener-query"),
    (131, "mld-listener-report"),
    (132, "mld-listener-done"),
    (143, "mld2-listener-report"),
];
/// Chain for packets of banned sources.
const SHUT_OUT_CHAIN: &str = "shut_out";
/// Sources with a live grant.
pub(super) const LIVE_GRANT_SETS: [AddressSet; 2] = grant_sets(GrantScope::Live, false);

/// The chain in which packets of banned sources end.
///
/// Answers to what this host, or one behind it, has asked pass: one forged packet at a bait must
/// not take a resolver away. So do errors about known flows, or it would take away the routers on
/// the way, and what they say of too long packets. What a banned source begins itself is neither.
///
/// All link-local addresses are in one /64: a neighbour that touches a bait must not take IPv6 away
/// from this host. conntrack knows no flow of what keeps it.
pub(super) fn build_chain() -> ChainSpec {
    let rules = vec![
        vec![Word::Syn, Word::Counter, Word::Drop],
        vec![Word::Established, Word::Reply, Word::Return],
        vec![Word::Related, Word::Icmp(Family::V4, ICMP_ERRORS), Word::Return],
        vec![Word::Related, Word::Icmp(Family::V6, ICMPV6_ERRORS), Word::Return],
        vec![Word::Icmp(Family::V6, MULTICAST_LISTENERS), Word::Return],
        vec![Word::Dhcp6, Word::Return],
        vec![Word::Counter, Word::Drop],
    ];
    ChainSpec { name: SHUT_OUT_CHAIN, hook: None, rules }
}

/// Rules that send packets of banned sources there.
pub(super) fn build_rules(rules: &Rules) -> Vec<RuleWords> {
    build_rules_with(rules, &[], &[Word::Jump(SHUT_OUT_CHAIN)])
}

/// Rules about packets of banned sources of which more is known, and what becomes of them.
pub(super) fn build_rules_with(rules: &Rules, first: &[Word], end: &[Word]) -> Vec<RuleWords> {
    let not_in = |family, set| Word::Held { family, view: PacketView::Comes, set, inside: false };
    Family::BOTH
        .map(|family| {
            let mut rule = first.to_vec();
            rule.push(Word::Banned(family));
            if rules.authenticated == Authenticated::Pardon {
                // A neighbour in the same /64, or a forged packet, must not cut an authenticated
                // source off.
                rule.extend(LIVE_GRANT_SETS.map(|set| not_in(family, set)));
            }
            rule.push(not_in(family, AddressSet::Never));
            rule.extend_from_slice(end);
            rule
        })
        .to_vec()
}
