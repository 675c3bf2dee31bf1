//! Changes of the kernel's table, each in one transaction.

use std::time::Instant;

use super::backend::Nftables;
use super::elements::{add_elements, clear_elements, delete_elements, replace_elements};
use super::ledger::Plan;
use super::read::{Layout, read_layout};
use super::{abi, build, ruleset};
use crate::firewall::address_set::{AddressSet, SetName};
use crate::firewall::netlink::message::NLM_F_EXCL;
use crate::firewall::netlink::{Batch, NetlinkError};
use crate::firewall::{Firewall as _, FirewallError, Rules};

impl Nftables {
    /// Makes the table be as the rules say, in one transaction; with `heal`, or when the table has
    /// to be made anew, its grants and bans as the ledger says.
    pub(super) fn install_rules(&mut self, rules: &Rules, heal: bool) -> Result<(), FirewallError> {
        self.ledger.ban_limit = usize::try_from(rules.ban_limit.max(1)).unwrap_or(usize::MAX);
        let (sets, chains) = (ruleset::build_sets(rules), ruleset::build_chains(rules, self.fib));
        let layout = read_layout(&mut self.netlink, &sets, &chains)?;
        if layout != Layout::Missing && (heal || layout == Layout::Differs) {
            // Bans by rules are only in the kernel until their log message is read.
            self.adopt_state()?;
        }
        if layout == Layout::Missing && !heal {
            self.adopt_connections();
        }
        if layout == Layout::Fits {
            match self.write_table(rules, false, heal) {
                // An older layout of chains, or somebody else's: only a new table can help.
                Err(e) if abi::LAYOUT_REFUSALS.contains(&e.errno()) => self.adopt_state()?,
                other => return Ok(other?),
            }
        }
        Ok(self.write_table(rules, true, true)?)
    }

    fn write_table(&mut self, rules: &Rules, fresh: bool, state: bool) -> Result<(), NetlinkError> {
        let now = Instant::now();
        let (grants, mut bans) = if state {
            (self.ledger.list_elements(now), self.ledger.list_bans(now))
        } else {
            Default::default()
        };
        let mut fib = self.fib;
        loop {
            let done = self.transact(|batch| {
                build::build_table(batch, rules, fib, fresh);
                replace_elements(batch, &grants);
                // Not replaced: bans are many, and one that is there has its own timer already.
                add_elements(batch, &bans, 0);
            });
            match done {
                Err(e) if fib && e.errno() == libc::ENOENT => fib = false,
                // Baits went on filling the set while we counted. The grants matter more than the
                // list of those who touched a bait.
                Err(e) if e.errno() == libc::ENFILE && !bans.is_empty() && is_ban_set(&e) => {
                    bans.clear();
                }
                Err(e) => return Err(e),
                Ok(()) => {
                    self.fib = fib;
                    return Ok(());
                }
            }
        }
    }

    /// Applies the messages that `fill` writes, all or none.
    pub(super) fn transact(&mut self, fill: impl FnOnce(&mut Batch)) -> Result<(), NetlinkError> {
        let mut batch = Batch::new(abi::NFNL_SUBSYS_NFTABLES);
        fill(&mut batch);
        self.netlink.transact(abi::NFNL_SUBSYS_NFTABLES, batch)
    }

    /// Makes a change; when the table turns out to be gone, puts it back and makes it again: a
    /// knock between a foreign flush and the watcher's notice opens all the same.
    pub(super) fn change(
        &mut self,
        change: impl Fn(&mut Self) -> Result<(), NetlinkError>,
    ) -> Result<(), FirewallError> {
        match change(self) {
            Err(e) if e.errno() == libc::ENOENT && self.rules.is_some() => {
                self.restore()?;
                Ok(change(self)?)
            }
            other => Ok(other?),
        }
    }

    /// Writes and deletes. A delete may come too late, after the kernel's own timer: the rest is
    /// done all the same.
    pub(super) fn apply_plan(&mut self, plan: &Plan) -> Result<(), NetlinkError> {
        let Plan { write, clear, delete, fresh } = plan;
        if *fresh && delete.is_empty() && clear.is_empty() {
            // A third of the messages, and no delete for the kernel to clean up after.
            match self.transact(|batch| add_elements(batch, write, NLM_F_EXCL)) {
                Err(e) if e.errno() == libc::EEXIST => (),
                other => return other,
            }
        }
        let rewrite = |batch: &mut Batch| {
            clear_elements(batch, clear);
            replace_elements(batch, write);
        };
        let all = self.transact(|batch| {
            rewrite(batch);
            delete_elements(batch, delete);
        });
        match all {
            Err(e) if e.errno() == libc::ENOENT && !delete.is_empty() => (),
            other => return other,
        }
        self.transact(rewrite)?;
        for key in delete {
            match self.transact(|batch| delete_elements(batch, &[*key])) {
                Err(e) if e.errno() != libc::ENOENT => return Err(e),
                _ => (),
            }
        }
        Ok(())
    }
}

fn is_ban_set(error: &NetlinkError) -> bool {
    SetName::find(error.about).is_some_and(|name| name.set == AddressSet::Ban)
}

impl From<NetlinkError> for FirewallError {
    fn from(error: NetlinkError) -> Self {
        match (error.errno(), SetName::find(error.about)) {
            (libc::EPERM | libc::EACCES, _) => Self::Permission(error.to_string()),
            // The kernel's word for a set at its size is "too many open files in system".
            (libc::ENFILE, Some(set)) => Self::Full(set),
            (libc::ENOENT, _) => Self::Missing(error.to_string()),
            _ => Self::Other(error.to_string()),
        }
    }
}
