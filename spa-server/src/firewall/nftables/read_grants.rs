//! Grants made again of the elements that the kernel has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::comment::{Comment, read_comment};
use super::element_key::{ElementKey, ElementSubject};
use super::elements::{ENDLESS_TIME, KernelElement};
use super::expression::Count;
use super::grant_keys::{HeldGrant, element_kinds, grant_keys, is_wide};
use super::ledger::Ledger;
use super::model::ALL_PROTOCOLS;
use super::read::read_set;
use crate::domain::grant::{Grant, GrantId, Scope, alone};
use crate::domain::ports::{PortRange, ProtoPorts, Protocol, merge_ports};
use crate::firewall::LiveGrant;
use crate::firewall::address_set::AddressSet;
use crate::firewall::netlink::{NetlinkError, NetlinkSocket};

/// Common part of the elements under one number.
struct GrantElements<'a> {
    comment: Comment<'a>,
    source: IpAddr,
    left: Duration,
    subjects: BTreeSet<ElementSubject>,
}

/// Counters that the kernel has.
struct KernelCounts {
    all: BTreeMap<ElementKey, Count>,
    /// Of these, those of wide grants.
    wide: Vec<(ElementKey, Count)>,
}

/// Reads the live grants, by number, and every counter.
///
/// A grant that the ledger knows keeps its scope as it was given; one that holds no element of its
/// own, because others hold them longer, counts as long as those elements are there.
pub(super) fn read_grants(
    netlink: &mut NetlinkSocket,
    ledger: &Ledger,
    now: Instant,
) -> Result<(Vec<LiveGrant>, BTreeMap<ElementKey, Count>), NetlinkError> {
    let mut elements = Vec::new();
    for set in AddressSet::grants().filter(|set| set.counts()) {
        elements.extend(read_set(netlink, set)?);
    }
    let counts = KernelCounts::new(&elements);
    let mut live = BTreeMap::new();
    for (id, found) in gather_elements(&elements) {
        let known = ledger.grant(id).filter(|held| held.grant.source == found.source);
        let grant = known.map_or_else(|| found.rebuild_grant(), |held| held.grant.clone());
        live.insert(id, counts.live_grant(grant, found.left));
    }
    for HeldGrant { grant, deadline } in ledger.grants().filter(|held| held.deadline > now) {
        if !live.contains_key(&grant.id) && counts.cover(grant) {
            let left = deadline.saturating_duration_since(now);
            live.insert(grant.id, counts.live_grant(grant.clone(), left));
        }
    }
    Ok((live.into_values().collect(), counts.all))
}

fn gather_elements(elements: &[KernelElement]) -> BTreeMap<GrantId, GrantElements<'_>> {
    let mut out: BTreeMap<GrantId, GrantElements<'_>> = BTreeMap::new();
    for element in elements {
        let Some(comment) = read_comment(&element.comment) else { continue };
        // All of ours have a timer.
        if element.left == ENDLESS_TIME {
            continue;
        }
        let source = comment.from.map_or(element.key.first, |(source, _)| source);
        let (left, subjects) = (element.left, BTreeSet::new());
        let entry = out.entry(comment.id);
        let gathered = entry.or_insert(GrantElements { comment, source, left, subjects });
        gathered.left = gathered.left.max(left);
        gathered.subjects.insert(element.key.kind.subject);
    }
    out
}

impl KernelCounts {
    fn new(elements: &[KernelElement]) -> Self {
        let all: BTreeMap<_, _> = elements.iter().map(|e| (e.key, e.count)).collect();
        let wide = all.iter().filter(|(key, _)| key.set().is_wide());
        Self { wide: wide.map(|(key, count)| (*key, *count)).collect(), all }
    }

    /// First packets that a grant let in.
    fn used(&self, grant: &Grant) -> u64 {
        let counts: Count = if is_wide(grant) {
            let (net, kinds) = (grant.network(), element_kinds(grant));
            let within = |key: &ElementKey| net.contains(&key.first) && kinds.contains(&key.kind);
            self.wide.iter().filter(|(key, _)| within(key)).map(|(_, count)| *count).sum()
        } else {
            grant_keys(grant).iter().filter_map(|key| self.all.get(key).copied()).sum()
        };
        counts.packets
    }

    fn live_grant(&self, grant: Grant, left: Duration) -> LiveGrant {
        LiveGrant { used: Some(self.used(&grant)), left, grant }
    }

    /// True if the kernel has an element for everything that the grant opens.
    fn cover(&self, grant: &Grant) -> bool {
        element_kinds(grant).into_iter().filter(|kind| kind.counts()).all(|kind| {
            let key = ElementKey { kind, first: grant.source, last: grant.source };
            if is_wide(grant) {
                let covers = |wide: &ElementKey| wide.covers(key.first, key.last);
                self.wide.iter().any(|(wide, _)| wide.kind.subject == kind.subject && covers(wide))
            } else {
                self.all.contains_key(&key)
            }
        })
    }
}

impl GrantElements<'_> {
    fn rebuild_grant(&self) -> Grant {
        let ports = |port_of: fn(&ElementSubject) -> Option<(Protocol, u16)>| -> Arc<[ProtoPorts]> {
            let of = |protocol| {
                let ports = self.subjects.iter().filter_map(port_of);
                let ports = ports.filter(move |(p, _)| *p == protocol);
                let merged = merge_ports(ports.map(|(_, port)| PortRange::one(port)));
                merged.into_iter().map(move |range| ProtoPorts { protocol, range })
            };
            ALL_PROTOCOLS.into_iter().flat_map(of).collect()
        };
        let scope = match self.subjects.first() {
            Some(ElementSubject::Inside(..)) => Scope::Inside(ports(|subject| match subject {
                ElementSubject::Inside(protocol, port) => Some((*protocol, *port)),
                _ => None,
            })),
            _ if self.subjects.contains(&ElementSubject::All) => Scope::All,
            _ => Scope::Ports(ports(|subject| match subject {
                ElementSubject::Port(protocol, port) => Some((*protocol, *port)),
                _ => None,
            })),
        };
        Grant {
            id: self.comment.id,
            client: self.comment.client.into(),
            service: self.comment.service.into(),
            source: self.source,
            prefix: self.comment.from.map_or_else(|| alone(self.source), |(_, prefix)| prefix),
            scope,
            ttl: self.comment.ttl.max(self.left),
        }
    }
}
