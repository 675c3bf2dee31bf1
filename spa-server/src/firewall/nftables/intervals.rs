//! Networks of wide grants, cut where they overlap.
//!
//! The kernel's interval sets take no two intervals that overlap, so where the networks of grants
//! lie within one another, each stretch of addresses is one element and belongs to the grant that
//! lasts longest there. At any later moment, what the kernel's timers have left is what the grants
//! that still live would have written.

use std::collections::BTreeSet;

use super::address_number::{address_at, address_number};
use super::element_key::ElementKey;
use super::grant_keys::{HeldGrant, Lane};
use crate::firewall::address_set::Family;

/// Stretch of addresses and the grant that holds it.
pub(super) struct Stretch<'a> {
    /// Element that stands for the stretch.
    pub(super) key: ElementKey,
    /// Grant with the latest end among those that cover it.
    pub(super) owner: &'a HeldGrant,
}

/// Network of a grant as numbers, both ends included.
struct HeldNetwork<'a> {
    first: u128,
    last: u128,
    held: &'a HeldGrant,
}

/// Cuts the grants' networks into stretches, ascending; neighbours of one owner are one.
pub(super) fn cut_stretches<'a>(lane: Lane, held: &[&'a HeldGrant]) -> Vec<Stretch<'a>> {
    let networks: Vec<HeldNetwork<'a>> = held
        .iter()
        .map(|held| {
            let net = held.grant.network();
            let (first, last) = (address_number(net.network()), address_number(net.broadcast()));
            HeldNetwork { first, last, held }
        })
        .collect();
    let cuts: BTreeSet<u128> = networks
        .iter()
        .flat_map(|net| [Some(net.first), net.last.checked_add(1)])
        .flatten()
        .collect();
    let mut out: Vec<HeldNetwork<'a>> = Vec::new();
    for cut in &cuts {
        let covers = networks.iter().filter(|net| net.first <= *cut && *cut <= net.last);
        let longest = covers.max_by_key(|net| (net.held.deadline, net.held.grant.id));
        let Some(HeldNetwork { last, held, .. }) = longest else { continue };
        let next = cuts.range(cut.saturating_add(1)..).next();
        let last = next.map_or(*last, |next| next - 1);
        match out.last_mut() {
            Some(before)
                if before.last.checked_add(1) == Some(*cut)
                    && before.held.grant.id == held.grant.id =>
            {
                before.last = last;
            }
            _ => out.push(HeldNetwork { first: *cut, last, held }),
        }
    }
    let family = if lane.v4 { Family::V4 } else { Family::V6 };
    out.into_iter()
        .map(|net| Stretch {
            key: ElementKey {
                kind: lane.kind,
                first: address_at(net.first, family),
                last: address_at(net.last, family),
            },
            owner: net.held,
        })
        .collect()
}
