//! Wide grants. The kernel's interval sets take no two intervals that overlap, so where the
//! networks of grants lie within one another, each stretch of addresses is one element and belongs
//! to the grant that lasts longest there. At any later moment, what the kernel's timers have left
//! is what the grants that still live would have written.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use ipnet::IpNet;

use super::key::{Key, What};
use super::ledger::{Held, Ledger, Plan, whats};
use super::elements::Element;
use super::expression::Count;
use crate::grant::{Grant, GrantId, alone};

/// What intervals must not overlap in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Lane {
    pub(super) what: What,
    pub(super) flow: bool,
    v4: bool,
}

/// Whether more than its source may pass.
pub(super) fn is_wide(grant: &Grant) -> bool {
    grant.prefix < alone(grant.source)
}

/// The lanes of a wide grant; a narrow one has none.
pub(super) fn lanes(grant: &Grant) -> Vec<Lane> {
    if !is_wide(grant) {
        return Vec::new();
    }
    let v4 = grant.source.is_ipv4();
    whats(grant).into_iter().map(|(what, flow)| Lane { what, flow, v4 }).collect()
}

/// A stretch of addresses and who holds it.
struct Stretch<'a> {
    key: Key,
    owner: &'a Held,
}

impl Ledger {
    /// Adds what changes in the interval sets when the grant with this number becomes `new`, or
    /// ends.
    pub(super) fn plan_wide(&self, plan: &mut Plan, id: GrantId, new: Option<&Held>, now: Instant) {
        let old = self.grant(id);
        let grants = [old, new].map(|held| held.map(|held| &held.grant));
        let all: BTreeSet<Lane> = grants.into_iter().flatten().flat_map(lanes).collect();
        for lane in all {
            let before = self.around(lane, grants.into_iter().flatten(), now);
            let mut after: Vec<&Held> =
                before.iter().copied().filter(|held| held.grant.id != id).collect();
            after.extend(new.filter(|held| lanes(&held.grant).contains(&lane)));
            let (before, after) = (stretches(lane, &before), stretches(lane, &after));
            plan.fresh &= before.is_empty();
            let gone = before.iter().filter(|b| !after.iter().any(|a| a.key == b.key));
            plan.clear.extend(gone.map(|stretch| stretch.key));
            for stretch in &after {
                let owner = stretch.owner.grant.id;
                let stays = owner != id
                    && before.iter().any(|b| b.key == stretch.key && b.owner.grant.id == owner);
                if !stays {
                    let began =
                        before.iter().filter(|b| stretch.key.covers(b.key.first, b.key.first));
                    let counts = began.map(|b| self.wide_count(b.key));
                    plan.write.extend(self.element(stretch.key, stretch.owner, counts.sum(), now));
                }
            }
        }
    }

    /// The keys of the stretches around a grant, those that count.
    pub(super) fn counting_wide(&self, grant: &Grant, now: Instant) -> Vec<Key> {
        let counted = lanes(grant).into_iter().filter(|lane| !lane.flow && lane.what != What::Live);
        counted
            .flat_map(|lane| stretches(lane, &self.around(lane, [grant].into_iter(), now)))
            .map(|stretch| stretch.key)
            .collect()
    }

    /// Every element of the interval sets.
    pub(super) fn wide_elements(&self, now: Instant) -> Vec<Element> {
        let of = |lane: &Lane, ids: &Vec<GrantId>| {
            let held: Vec<_> =
                ids.iter().filter_map(|id| self.grant(*id)).filter(|h| h.deadline > now).collect();
            let all = stretches(*lane, &held);
            all.iter()
                .filter_map(|s| self.element(s.key, s.owner, self.wide_count(s.key), now))
                .collect::<Vec<_>>()
        };
        self.lanes.iter().flat_map(|(lane, ids)| of(lane, ids)).collect()
    }

    /// The live grants of a lane whose networks lie within the widest that holds one of the given.
    fn around<'a>(
        &self,
        lane: Lane,
        given: impl Iterator<Item = &'a Grant> + Clone,
        now: Instant,
    ) -> Vec<&Held> {
        let ids = self.lanes.get(&lane).map(Vec::as_slice).unwrap_or_default();
        let held =
            || ids.iter().filter_map(|id| self.grant(*id)).filter(|held| held.deadline > now);
        let roots: Vec<IpNet> = given
            .map(Grant::network)
            .map(|net| {
                let holds = held().map(|h| h.grant.network()).filter(|other| other.contains(&net));
                holds.min_by_key(IpNet::prefix_len).unwrap_or(net)
            })
            .collect();
        held().filter(|h| roots.iter().any(|root| root.contains(&h.grant.network()))).collect()
    }

    fn wide_count(&self, key: Key) -> Count {
        self.wide_counts.get(&key).copied().unwrap_or_default()
    }
}

/// Cuts the grants' networks into stretches, ascending; neighbours of one owner are one.
fn stretches<'a>(lane: Lane, held: &[&'a Held]) -> Vec<Stretch<'a>> {
    let ends: Vec<(u128, u128, &Held)> = held
        .iter()
        .map(|held| {
            let net = held.grant.network();
            (number(net.network()), number(net.broadcast()), *held)
        })
        .collect();
    let cuts: BTreeSet<u128> = ends
        .iter()
        .flat_map(|(first, last, _)| [Some(*first), last.checked_add(1)])
        .flatten()
        .collect();
    let mut out: Vec<(u128, u128, &Held)> = Vec::new();
    for cut in &cuts {
        let covers = ends.iter().filter(|(first, last, _)| first <= cut && cut <= last);
        let Some((_, last, owner)) = covers.max_by_key(|(.., held)| (held.deadline, held.grant.id))
        else {
            continue;
        };
        let next = cuts.range(cut.saturating_add(1)..).next().copied();
        let last = next.map_or(*last, |next| next - 1);
        match out.last_mut() {
            Some((_, before, same))
                if before.checked_add(1) == Some(*cut) && same.grant.id == owner.grant.id =>
            {
                *before = last;
            }
            _ => out.push((*cut, last, owner)),
        }
    }
    out.into_iter()
        .map(|(first, last, owner)| Stretch {
            key: Key {
                what: lane.what,
                flow: lane.flow,
                first: address(first, lane.v4),
                last: address(last, lane.v4),
            },
            owner,
        })
        .collect()
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u128::from(u32::from(a)),
        IpAddr::V6(a) => u128::from(a),
    }
}

fn address(number: u128, v4: bool) -> IpAddr {
    if v4 {
        IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)))
    } else {
        IpAddr::V6(Ipv6Addr::from(number))
    }
}
