//! Backend `observe`: decides and remembers as a firewall would, and changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::address_set::{AddressSet, Family, SetName};
use super::{
    Authenticated, Ban, Firewall, FirewallError, LiveGrant, Obstacle, Rules, deadline_after,
};
use crate::domain::grant::{Grant, GrantId};

/// Most bans remembered when no rules say otherwise.
const MAX_BANS: usize = 65_536;

/// The backend. Nothing in it outlives the process.
#[derive(Debug, Default)]
pub struct Observe {
    rules: Option<Rules>,
    grants: BTreeMap<GrantId, (Grant, Instant)>,
    bans: HashMap<IpNet, Instant>,
}

impl Observe {
    /// Backend with nothing granted and nobody banned.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn prune(&mut self) -> Instant {
        let now = Instant::now();
        self.grants.retain(|_, (_, end)| *end > now);
        self.bans.retain(|_, end| *end > now);
        now
    }
}

/// One IPv4 address, or the /64 of an IPv6 address.
fn ban_network(source: IpAddr) -> IpNet {
    IpNet::new_assert(source, if source.is_ipv4() { 32 } else { 64 }).trunc()
}

impl Firewall for Observe {
    fn name(&self) -> &'static str {
        "observe"
    }

    fn install(&mut self, rules: &Rules) -> Result<(), FirewallError> {
        self.rules = Some(rules.clone());
        Ok(())
    }

    fn remove(&mut self) -> Result<(), FirewallError> {
        *self = Self::default();
        Ok(())
    }

    fn open(&mut self, grant: &Grant) -> Result<(), FirewallError> {
        let now = self.prune();
        let network = ban_network(grant.source);
        let strict = self.rules.as_ref().is_some_and(|r| r.authenticated == Authenticated::Strict);
        if strict && self.bans.contains_key(&network) {
            return Err(FirewallError::Banned(grant.source));
        }
        self.bans.remove(&network);
        self.grants.insert(grant.id, (grant.clone(), deadline_after(now, grant.ttl)));
        Ok(())
    }

    fn close(&mut self, id: GrantId) -> Result<Option<u64>, FirewallError> {
        self.grants.remove(&id);
        Ok(None)
    }

    fn in_sequence(&mut self, _source: IpAddr, _ttl: Duration) -> Result<(), FirewallError> {
        // The mark only excuses from baits, and no bait is laid here.
        Ok(())
    }

    fn grants(&mut self) -> Result<Vec<LiveGrant>, FirewallError> {
        let now = self.prune();
        let live = self.grants.values();
        Ok(live
            .map(|(grant, end)| LiveGrant { grant: grant.clone(), left: *end - now, used: None })
            .collect())
    }

    fn ban(&mut self, source: IpAddr, time: Duration) -> Result<(), FirewallError> {
        let now = self.prune();
        let limit = self.rules.as_ref().map_or(MAX_BANS, |r| r.ban_limit.max(1) as usize);
        let network = ban_network(source);
        let full =
            self.bans.keys().filter(|n| n.addr().is_ipv4() == source.is_ipv4()).count() >= limit;
        let family = if source.is_ipv4() { Family::V4 } else { Family::V6 };
        if full && !self.bans.contains_key(&network) {
            return Err(FirewallError::Full(SetName { set: AddressSet::Ban, family }));
        }
        self.bans.insert(network, deadline_after(now, time));
        Ok(())
    }

    fn unban(&mut self, source: IpAddr) -> Result<(), FirewallError> {
        self.bans.remove(&ban_network(source));
        Ok(())
    }

    fn bans(&mut self) -> Result<Vec<Ban>, FirewallError> {
        let now = self.prune();
        let mut bans: Vec<_> = self
            .bans
            .iter()
            .map(|(network, end)| Ban { network: *network, left: *end - now })
            .collect();
        bans.sort_by_key(|ban| ban.network);
        Ok(bans)
    }

    fn obstacles(&mut self) -> Result<Vec<Obstacle>, FirewallError> {
        Ok(Vec::new())
    }
}
