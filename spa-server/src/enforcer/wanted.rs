//! Wanted state of an enforcer: the grants, and the entries that they come to.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::contract::{EnforcedEntry, EntryChange};
use crate::domain::grant::GrantId;
use crate::ipc::enforcers::EnforcedGrant;

/// Shortest time that an entry is opened for.
const MIN_TIME: Duration = Duration::from_secs(1);

/// Needs of one grant.
#[derive(Clone, Debug)]
struct WantedGrant {
    entry: EnforcedEntry,
    end: Instant,
    /// Set when flows end with it.
    flows: bool,
}

/// Grants that are to be open.
#[derive(Debug, Default)]
pub(super) struct WantedGrants(BTreeMap<GrantId, WantedGrant>);

impl WantedGrants {
    /// Takes note of a grant. Returns the change that opens it.
    pub(super) fn insert(&mut self, grant: EnforcedGrant, now: Instant) -> EntryChange {
        let EnforcedGrant { id, service, network, ports, left, flows } = grant;
        let entry = EnforcedEntry { service, network, ports };
        self.0.insert(id, WantedGrant { entry: entry.clone(), end: now + left, flows });
        self.change_for(entry, flows, now)
    }

    /// Forgets a grant. Returns the change that ends it, unless there was none.
    pub(super) fn remove(&mut self, id: GrantId, flows: bool, now: Instant) -> Option<EntryChange> {
        let gone = self.0.remove(&id)?;
        Some(self.change_for(gone.entry, flows || gone.flows, now))
    }

    /// Forgets those whose time is over. Returns the changes that end them.
    pub(super) fn take_ended(&mut self, now: Instant) -> Vec<(EntryChange, bool)> {
        let over = |wanted: &WantedGrant| wanted.end <= now;
        let ended: Vec<WantedGrant> =
            self.0.values().filter(|wanted| over(wanted)).cloned().collect();
        self.0.retain(|_, wanted| !over(wanted));
        let change = |gone: WantedGrant| (self.change_for(gone.entry, gone.flows, now), gone.flows);
        ended.into_iter().map(change).collect()
    }

    /// Entries that are to be open, each once.
    pub(super) fn entries(&self) -> Vec<EnforcedEntry> {
        let mut entries: Vec<EnforcedEntry> =
            self.0.values().map(|wanted| wanted.entry.clone()).collect();
        entries.sort_unstable();
        entries.dedup();
        entries
    }

    /// Changes that make an enforcer with these entries have what is wanted.
    pub(super) fn changes_from(&self, there: Vec<EnforcedEntry>, now: Instant) -> Vec<EntryChange> {
        let wanted = self.entries();
        let gone = there.into_iter().filter(|entry| wanted.binary_search(entry).is_err());
        // Nobody knows what the flows of an entry of before were to do: they end.
        let close = gone.map(|entry| EntryChange::Close { entry, flows: true });
        let mut changes: Vec<EntryChange> = close.collect();
        changes.extend(wanted.iter().map(|entry| self.change_for(entry.clone(), false, now)));
        changes
    }

    /// The change after which an entry is as the grants that are left need it: another client
    /// behind the same address may have the same service open.
    fn change_for(&self, entry: EnforcedEntry, flows: bool, now: Instant) -> EntryChange {
        let same = self.0.values().filter(|wanted| wanted.entry == entry);
        let left = same.map(|wanted| wanted.end.saturating_duration_since(now)).max();
        match left {
            Some(left) => EntryChange::Open(entry, left.max(MIN_TIME)),
            None => EntryChange::Close { entry, flows },
        }
    }
}
