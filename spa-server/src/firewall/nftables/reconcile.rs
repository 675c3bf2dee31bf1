//! Sets put right that hold what is no grant of ours, or lack what is one.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::backend::Nftables;
use super::build::flush_set;
use super::element_key::ElementKey;
use super::elements::add_elements;
use super::grant_elements::{find_odd_sets, read_grant_elements};
use crate::firewall::FirewallError;

impl Nftables {
    /// Makes the sets hold the live grants and nothing else, and adds bans that are missing. Counts
    /// go on from what the kernel's elements say.
    pub(super) fn reconcile(&mut self) -> Result<(), FirewallError> {
        let now = Instant::now();
        self.ledger.remove_expired(now);
        let found = read_grant_elements(&mut self.netlink)?;
        let ours: HashMap<_, ElementKey> = self
            .ledger
            .list_elements(now)
            .into_iter()
            .filter(|e| e.key.kind.counts())
            .map(|e| ((e.key.set_name(), e.key.raw()), e.key))
            .collect();
        let counts =
            found.iter().filter_map(|e| Some((*ours.get(&(e.set, e.key.clone()))?, e.count)));
        self.ledger.record_counts(counts);
        let mut wanted = self.ledger.list_elements(now);
        let odd: HashSet<_> = find_odd_sets(&found, &wanted).into_iter().collect();
        wanted.retain(|element| odd.contains(element.key.set_name()));
        if !odd.is_empty() {
            self.transact(|batch| {
                odd.iter().for_each(|set| flush_set(batch, set));
                add_elements(batch, &wanted, 0);
            })?;
        }
        self.put_bans_back()
    }
}
