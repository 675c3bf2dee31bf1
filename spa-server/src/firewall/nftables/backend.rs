//! The backend: what every firewall can do, done by this one.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::abi::msg;
use super::build::{drop_table, new_table};
use super::element_key::{ElementKey, ElementSubject};
use super::elements::{Element, replace_elements, request_elements};
use super::end_flows::EndingFlows;
use super::expression::Count;
use super::foreign::{
    HostModel, find_ephemeral, list_obstacles, list_questions, look_of_closed_ports,
};
use super::ledger::{Ledger, Plan};
use super::read::{has_table, read_counts, read_set};
use super::read_grants::read_grants;
use super::verify::find_difference;
use super::watch::Watcher;
use crate::domain::grant::{Grant, GrantId};
use crate::firewall::address_set::AddressSet;
use crate::firewall::netlink::{NetlinkError, NetlinkSocket, some_if_found};
use crate::firewall::reach::{Reach, ReachQuery};
use crate::firewall::{
    Authenticated, Ban, Firewall, FirewallError, Hide, LiveGrant, Obstacle, Rules,
};

/// Most bans remembered before any rules are installed.
const MAX_BANS_BEFORE_RULES: usize = 65_536;

/// Most times that a table is put back for one change: somebody who flushes without a pause wins.
pub(super) const MAX_REPAIRS: usize = 16;

/// Reason for writing the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// The first rules of this process.
    Start,
    /// Other rules than before.
    Change,
    /// Somebody else changed the table.
    Repair,
}

/// nftables backend. It acts in the network namespace of the thread that made it.
#[derive(Debug)]
pub struct Nftables {
    /// Socket in the network namespace that the rules are for.
    pub(super) netlink: NetlinkSocket,
    /// Grants and bans as written, to put them back after a foreign change.
    pub(super) ledger: Ledger,
    /// Rules last installed; `None` before the first install and after `remove`.
    pub(super) rules: Option<Rules>,
    /// Set when this kernel has the fib expression.
    pub(super) fib: bool,
    /// Flows whose grants are gone.
    pub(super) ending: EndingFlows,
    /// Set while the chain that keeps translations alive is there.
    pub(super) holds_translations: bool,
}

impl Nftables {
    /// Connects to the kernel and reads the grants and bans that an earlier server left running.
    ///
    /// # Errors
    /// [`FirewallError::Permission`] without `CAP_NET_ADMIN`; what else the kernel says.
    pub fn new() -> Result<Self, FirewallError> {
        let failed = |e: io::Error| FirewallError::Other(e.to_string());
        let mut this = Self {
            netlink: NetlinkSocket::open().map_err(failed)?,
            ledger: Ledger::new(MAX_BANS_BEFORE_RULES),
            rules: None,
            fib: true,
            ending: EndingFlows::new().map_err(failed)?,
            holds_translations: false,
        };
        this.adopt_state()?;
        Ok(this)
    }

    /// A watcher for changes that are not made by this value.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn watcher(&self) -> io::Result<Watcher> {
        Watcher::new(self.netlink.port())
    }

    /// Tells whether our table is in the kernel, whoever has put it there.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn is_installed(&mut self) -> Result<bool, FirewallError> {
        Ok(has_table(&mut self.netlink)?)
    }

    /// Finds knock ports of these rules that clients of this host may get from the kernel.
    pub(crate) fn find_ephemeral_ports(&self, rules: &Rules) -> Option<Obstacle> {
        find_ephemeral(rules)
    }

    fn list_obstacles(&mut self, rules: Option<&Rules>) -> Result<Vec<Obstacle>, FirewallError> {
        let questions = list_questions(rules);
        let query = ReachQuery { services: questions, ..ReachQuery::default() };
        let model = HostModel::read(&mut self.netlink, &query)?;
        Ok(list_obstacles(&model, rules, &query.services))
    }

    /// Enters grants and bans that the kernel has and we do not know.
    pub(super) fn adopt_state(&mut self) -> Result<(), FirewallError> {
        let now = Instant::now();
        self.ledger.remove_expired(now);
        let (found, counts) = read_grants(&mut self.netlink, &self.ledger, now)?;
        for live in found {
            if self.ledger.grant(live.grant.id).is_none() {
                self.ledger.insert_grant(live.grant, live.left, now);
            }
        }
        self.ledger.record_counts(counts);
        self.adopt_bans()?;
        Ok(())
    }

    /// Reads the counters of those of a grant's elements that are there already, for they are about
    /// to be written anew or to go. What comes through in the microseconds until then is not
    /// counted. Answers the first packets that it has let in.
    fn refresh_counts(&mut self, grant: &Grant) -> Result<u64, NetlinkError> {
        let keys = self.ledger.list_counted_keys(grant, Instant::now());
        if keys.is_empty() {
            return Ok(0);
        }
        let found = read_counts(&mut self.netlink, &keys)?;
        let network = grant.network();
        let own = found.iter().filter(|element| network.contains(&element.key.first));
        let used: Count = own.map(|element| element.count).sum();
        self.ledger.record_counts(found.into_iter().map(|f| (f.key, f.count)));
        Ok(used.packets)
    }

    fn has_element(&mut self, key: ElementKey) -> Result<bool, NetlinkError> {
        let mut there = false;
        let found = self.netlink.request(key.set_name(), &request_elements(&[key]), &mut |m| {
            there |= m.kind == msg::NEW_ELEMENT;
        });
        Ok(some_if_found(found)?.is_some() && there)
    }

    fn is_strict(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.authenticated == Authenticated::Strict)
    }

    /// Reads the bans in the kernel into the ledger and lists them.
    pub(super) fn adopt_bans(&mut self) -> Result<Vec<Ban>, FirewallError> {
        let now = Instant::now();
        let found = read_set(&mut self.netlink, AddressSet::Ban)?;
        let found = || found.iter().filter_map(|f| Some((f.key.banned()?, f.left)));
        self.ledger.adopt_bans(found(), now);
        let mut bans: Vec<_> = found()
            .filter_map(|(source, left)| {
                let prefix = if source.is_ipv4() { 32 } else { 64 };
                Some(Ban { network: ipnet::IpNet::new(source, prefix).ok()?, left })
            })
            .collect();
        bans.sort_by_key(|ban| ban.network);
        Ok(bans)
    }

    /// Takes a grant out of kernel and ledger. Answers the changes that it took, and the first
    /// packets that it has let in.
    fn close_grant(&mut self, id: GrantId) -> Result<(Plan, Option<u64>), FirewallError> {
        let now = Instant::now();
        self.ledger.remove_expired(now);
        let held = self.ledger.grant(id).map(|held| held.grant.clone());
        let used = held.map(|held| self.refresh_counts(&held)).transpose()?;
        let plan = self.ledger.plan_close(id, now);
        match self.apply_plan(&plan) {
            // Without a table nothing is open; the watcher must not put this one back.
            Err(e) if e.errno() == libc::ENOENT => (),
            other => other?,
        }
        self.ledger.remove_grant(id);
        Ok((plan, used))
    }
}

impl Firewall for Nftables {
    fn name(&self) -> &'static str {
        "nftables"
    }

    /// Puts rules, live grants and bans back; marks of sequences last seconds and are left out.
    /// Without an install before, nothing is done.
    fn restore(&mut self) -> Result<(), FirewallError> {
        let Some(rules) = self.rules.take() else { return Ok(()) };
        let done = self.install_rules(&rules, Occasion::Repair);
        self.rules = Some(rules);
        done
    }

    /// At most `ban_limit` bans per family are remembered.
    fn note_ban(&mut self, source: IpAddr, time: Duration) {
        self.ledger.record_ban(source, time, Instant::now());
    }

    fn install(&mut self, rules: &Rules) -> Result<(), FirewallError> {
        let occasion = if self.rules.is_some() { Occasion::Change } else { Occasion::Start };
        let mut tries = 0..MAX_REPAIRS;
        loop {
            match self.install_rules(rules, occasion) {
                Err(FirewallError::Missing(_)) if tries.next().is_some() => (),
                other => break other?,
            }
        }
        self.hold_translations(rules);
        self.rules = Some(rules.clone());
        Ok(())
    }

    fn difference(&mut self, rules: &Rules) -> Result<Option<String>, FirewallError> {
        Ok(find_difference(&mut self.netlink, rules, self.fib, &self.ledger)?)
    }

    fn remove(&mut self) -> Result<(), FirewallError> {
        self.transact(|batch| {
            new_table(batch);
            drop_table(batch);
        })?;
        self.hold_translations(&Rules::default());
        self.rules = None;
        self.ledger = Ledger::new(self.ledger.ban_limit);
        Ok(())
    }

    fn open(&mut self, grant: &Grant) -> Result<(), FirewallError> {
        let now = Instant::now();
        self.ledger.remove_expired(now);
        let ban = ElementKey::ban(grant.source);
        let is_banned = self.change(|this| {
            // Looked up, not deleted on a guess with the add+delete idiom: whoever fills the ban
            // set with forged addresses would make that add fail, and with it every grant.
            let is_banned = this.has_element(ban)?;
            if is_banned && this.is_strict() {
                return Err(FirewallError::Banned(grant.source));
            }
            this.refresh_counts(grant)?;
            let mut plan =
                this.ledger.plan_open(grant, now).ok_or_else(|| FirewallError::UnfitNames {
                    client: grant.client.to_string(),
                    service: grant.service.to_string(),
                })?;
            plan.delete.extend(is_banned.then_some(ban));
            this.apply_plan(&plan)?;
            Ok(is_banned)
        })?;
        if is_banned {
            self.ledger.remove_ban(grant.source);
        }
        self.ledger.insert_grant(grant.clone(), grant.ttl, now);
        Ok(())
    }

    fn close(&mut self, id: GrantId) -> Result<Option<u64>, FirewallError> {
        let (plan, used) = self.close_grant(id)?;
        if let Some(rules) = &self.rules {
            self.ending.delete_flows(&plan, rules);
        }
        Ok(used)
    }

    fn end(&mut self, id: GrantId) -> Result<Option<u64>, FirewallError> {
        // The kernel cuts the flows of a provisional grant by itself.
        let lasts = self.ledger.grant(id).is_some_and(|held| !held.grant.provisional);
        let (plan, used) = self.close_grant(id)?;
        if lasts {
            self.ending.cut_flows(&plan);
        }
        Ok(used)
    }

    fn continue_work(&mut self) -> Result<(), FirewallError> {
        let Self { ending, netlink, ledger, rules, .. } = self;
        let none = Rules::default();
        Ok(ending.advance(netlink, ledger, rules.as_ref().unwrap_or(&none))?)
    }

    fn work_due(&self) -> Option<Instant> {
        self.ending.due()
    }

    fn in_sequence(&mut self, source: IpAddr, ttl: Duration) -> Result<(), FirewallError> {
        let mark = [Element::new(ElementKey::new(ElementSubject::Sequence, source), ttl)];
        self.change(|this| Ok(this.transact(|batch| replace_elements(batch, &mark))?))
    }

    fn grants(&mut self) -> Result<Vec<LiveGrant>, FirewallError> {
        let now = Instant::now();
        self.ledger.remove_expired(now);
        let (found, counts) = read_grants(&mut self.netlink, &self.ledger, now)?;
        self.ledger.record_counts(counts);
        Ok(found)
    }

    fn ban(&mut self, source: IpAddr, time: Duration) -> Result<(), FirewallError> {
        let never =
            self.rules.iter().flat_map(|rules| &rules.never_ban).find(|net| net.contains(&source));
        if let Some(net) = never {
            return Err(FirewallError::NeverBanned { address: source, network: *net });
        }
        let ban = [Element::new(ElementKey::ban(source), time)];
        self.change(|this| Ok(this.transact(|batch| replace_elements(batch, &ban))?))?;
        self.ledger.record_ban(source, time, Instant::now());
        Ok(())
    }

    fn unban(&mut self, source: IpAddr) -> Result<(), FirewallError> {
        self.apply_plan(&Plan { delete: vec![ElementKey::ban(source)], ..Plan::default() })?;
        self.ledger.remove_ban(source);
        Ok(())
    }

    fn bans(&mut self) -> Result<Vec<Ban>, FirewallError> {
        self.adopt_bans()
    }

    fn answer_reach(
        &mut self,
        rules: &Rules,
        query: &ReachQuery,
    ) -> Result<Vec<Reach>, FirewallError> {
        let model = HostModel::read(&mut self.netlink, query)?;
        Ok(query.services.iter().flat_map(|asked| model.answer(rules, asked)).collect())
    }

    fn look_of_closed_ports(&mut self, rules: &Rules) -> Result<Option<Hide>, FirewallError> {
        Ok(Some(look_of_closed_ports(&mut self.netlink, rules)?))
    }

    fn obstacles(&mut self) -> Result<Vec<Obstacle>, FirewallError> {
        let rules = self.rules.clone();
        self.list_obstacles(rules.as_ref())
    }
}
