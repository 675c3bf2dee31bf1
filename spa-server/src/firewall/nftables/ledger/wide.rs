//! Wide grants in the ledger.

use std::time::Instant;

use ipnet::IpNet;

use super::super::element_key::ElementKey;
use super::super::elements::Element;
use super::super::expression::Count;
use super::super::grant_keys::{HeldGrant, Lane, grant_lanes};
use super::super::intervals::cut_stretches;
use super::{Ledger, Plan};
use crate::domain::grant::{Grant, GrantId};

impl Ledger {
    /// Adds what changes in a lane's intervals when the grant with this number becomes `new`, or
    /// ends.
    pub(super) fn plan_lane(
        &self,
        plan: &mut Plan,
        lane: Lane,
        id: GrantId,
        new: Option<&HeldGrant>,
        now: Instant,
    ) {
        let forms = [self.grant(id), new].into_iter().flatten().map(|held| &held.grant);
        let before = self.find_neighbours(lane, forms, now);
        let mut after: Vec<&HeldGrant> =
            before.iter().copied().filter(|held| held.grant.id != id).collect();
        after.extend(new.filter(|held| grant_lanes(&held.grant).contains(&lane)));
        let (before, after) = (cut_stretches(lane, &before), cut_stretches(lane, &after));
        plan.fresh &= before.is_empty();
        let gone = before.iter().filter(|b| !after.iter().any(|a| a.key == b.key));
        plan.clear.extend(gone.map(|stretch| stretch.key));
        for stretch in &after {
            let owner = stretch.owner.grant.id;
            let stays = owner != id
                && before.iter().any(|b| b.key == stretch.key && b.owner.grant.id == owner);
            if !stays {
                let began = before.iter().filter(|b| stretch.key.covers(b.key.first, b.key.first));
                let counts = began.map(|b| self.recorded_wide_count(b.key));
                let element = self.make_element(stretch.key, stretch.owner, counts.sum(), now);
                plan.write.extend(element);
            }
        }
    }

    /// Keys of the stretches of a lane around a grant.
    pub(super) fn list_stretches(
        &self,
        lane: Lane,
        grant: &Grant,
        now: Instant,
    ) -> Vec<ElementKey> {
        let around = self.find_neighbours(lane, [grant].into_iter(), now);
        cut_stretches(lane, &around).into_iter().map(|stretch| stretch.key).collect()
    }

    /// Every element of the interval sets.
    pub(super) fn list_wide_elements(&self, now: Instant) -> Vec<Element> {
        let of = |lane: &Lane, ids: &Vec<GrantId>| {
            let held: Vec<_> =
                ids.iter().filter_map(|id| self.grant(*id)).filter(|h| h.deadline > now).collect();
            let all = cut_stretches(*lane, &held);
            all.iter()
                .filter_map(|s| {
                    self.make_element(s.key, s.owner, self.recorded_wide_count(s.key), now)
                })
                .collect::<Vec<_>>()
        };
        self.lanes.iter().flat_map(|(lane, ids)| of(lane, ids)).collect()
    }

    /// The live grants of a lane whose networks lie within the widest that holds one of the given.
    fn find_neighbours<'a>(
        &self,
        lane: Lane,
        given: impl Iterator<Item = &'a Grant> + Clone,
        now: Instant,
    ) -> Vec<&HeldGrant> {
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

    fn recorded_wide_count(&self, key: ElementKey) -> Count {
        self.wide_counts.get(&key).copied().unwrap_or_default()
    }
}
