//! The live grants by client, for renewal and limits. The kernel holds the truth and the timers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::domain::grant::{Grant, GrantId};

struct LiveEntry {
    id: GrantId,
    service: Arc<str>,
    network: IpNet,
    until: Duration,
    /// Nobody has confirmed it yet.
    provisional: bool,
    /// It counts for the client's limit.
    counted: bool,
}

/// Properties that tell one grant of a client from another.
pub(super) struct GrantView<'a> {
    /// Name of the service.
    pub(super) service: &'a str,
    /// Addresses that it is open for.
    pub(super) network: IpNet,
    /// Set while no CONFIRM has come for it.
    pub(super) provisional: bool,
}

impl<'a> GrantView<'a> {
    /// Views a grant that is on its way to the firewall.
    pub(super) fn of(grant: &'a Grant) -> Self {
        let provisional = grant.provisional;
        Self { service: &grant.service, network: grant.network(), provisional }
    }
}

/// Live grants by client name.
#[derive(Default)]
pub(super) struct GrantBook {
    by_client: HashMap<Arc<str>, Vec<LiveEntry>>,
    last: u64,
}

impl GrantBook {
    /// Numbers grants from this one on, or from the next free one if that is higher.
    pub(super) fn number_from(&mut self, first: GrantId) {
        self.last = self.last.max(first.0.saturating_sub(1));
    }

    /// Number of the last grant.
    pub(super) fn last_id(&self) -> GrantId {
        GrantId(self.last)
    }

    /// A number that no grant has had since the start.
    pub(super) fn next_id(&mut self) -> GrantId {
        self.last += 1;
        GrantId(self.last)
    }

    /// Enters a grant. A provisional one never counts for the client's limit.
    pub(super) fn insert_grant(&mut self, grant: &Grant, until: Duration, counted: bool) {
        self.last = self.last.max(grant.id.0);
        let live = self.by_client.entry(Arc::clone(&grant.client)).or_default();
        live.retain(|known| known.id != grant.id);
        let service = Arc::clone(&grant.service);
        let provisional = grant.provisional;
        live.push(LiveEntry {
            id: grant.id,
            service,
            network: grant.network(),
            until,
            provisional,
            counted: counted && !provisional,
        });
    }

    /// The client's live grants that are as wanted. The same service and network are the same
    /// grant: a knock renews it.
    pub(super) fn find_live(
        &self,
        client: &str,
        wanted: impl Fn(&GrantView<'_>) -> bool,
        now: Duration,
    ) -> Vec<GrantId> {
        let view = |live: &'_ LiveEntry| {
            let LiveEntry { network, provisional, .. } = *live;
            wanted(&GrantView { service: &live.service, network, provisional })
        };
        self.grants_of(client, now).filter(|live| view(live)).map(|live| live.id).collect()
    }

    /// Every live grant by client, service and number.
    pub(super) fn iter_all(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, GrantId)> {
        let each = self
            .by_client
            .iter()
            .flat_map(|(client, live)| live.iter().map(move |one| (client, one)));
        each.map(|(client, one)| (client, &one.service, one.id))
    }

    fn grants_of(&self, client: &str, now: Duration) -> impl Iterator<Item = &LiveEntry> {
        self.by_client.get(client).into_iter().flatten().filter(move |live| live.until > now)
    }

    /// Returns true for a live grant of the client.
    pub(super) fn is_live(&self, client: &str, id: GrantId, now: Duration) -> bool {
        self.grants_of(client, now).any(|live| live.id == id)
    }

    /// True for a live grant that has been confirmed or needed no CONFIRM.
    pub(super) fn is_lasting(&self, client: &str, id: GrantId, now: Duration) -> bool {
        self.grants_of(client, now).any(|live| live.id == id && !live.provisional)
    }

    /// Live grants of a client that count for its limit, but for these.
    pub(super) fn count_live(&self, client: &str, without: &[GrantId], now: Duration) -> usize {
        let counts = |live: &&LiveEntry| live.counted && !without.contains(&live.id);
        self.grants_of(client, now).filter(counts).count()
    }

    /// Removes a grant that has ended.
    pub(super) fn remove_grant(&mut self, client: &str, id: GrantId) {
        if let Some(live) = self.by_client.get_mut(client) {
            live.retain(|known| known.id != id);
            if live.is_empty() {
                self.by_client.remove(client);
            }
        }
    }

    /// Forgets grants that were closed by other hands than a client's.
    pub(super) fn forget_grants(&mut self, ids: &HashSet<GrantId>) {
        self.by_client.retain(|_, live| {
            live.retain(|known| !ids.contains(&known.id));
            !live.is_empty()
        });
    }

    /// Removes the grants that have run out.
    pub(super) fn expire_grants(&mut self, now: Duration) {
        self.by_client.retain(|_, live| {
            live.retain(|known| known.until > now);
            !live.is_empty()
        });
    }

    /// Number of the grants kept.
    pub(super) fn len(&self) -> usize {
        self.by_client.values().map(Vec::len).sum()
    }
}
