//! Changes of the kernel's table, each in one transaction.

use std::collections::HashSet;
use std::time::Instant;

use super::backend::{MAX_REPAIRS, Nftables, Occasion};
use super::elements::{Element, add_elements, clear_elements, delete_elements, replace_elements};
use super::ledger::Plan;
use super::read::{Layout, Misfits, read_layout};
use super::{abi, build, ruleset};
use crate::firewall::address_set::{AddressSet, SetName};
use crate::firewall::netlink::message::NLM_F_EXCL;
use crate::firewall::netlink::{Batch, NetlinkError};
use crate::firewall::{Firewall as _, FirewallError, Rules};

/// Elements that go into the sets in the transaction of the rules.
#[derive(Default)]
struct SetContents {
    grants: Vec<Element>,
    bans: Vec<Element>,
}

impl Nftables {
    /// Makes the table be as the rules say, and its grants and bans as the ledger says.
    ///
    /// Where nothing hides the ports at this moment the rules come first, in a transaction of their
    /// own: how long a stranger may get in must not depend on the number of grants.
    pub(super) fn install_rules(
        &mut self,
        rules: &Rules,
        occasion: Occasion,
    ) -> Result<(), FirewallError> {
        self.ledger.ban_limit = usize::try_from(rules.ban_limit.max(1)).unwrap_or(usize::MAX);
        let (sets, chains) = (ruleset::build_sets(rules), ruleset::build_chains(rules, self.fib));
        let odd = match read_layout(&mut self.netlink, &sets, &chains)? {
            Layout::Found(odd) if !odd.asleep => odd,
            layout => {
                if layout == Layout::Missing && occasion != Occasion::Repair {
                    self.adopt_connections();
                }
                self.write_rules(rules, None, SetContents::default())?;
                return Ok(self.write_state()?);
            }
        };
        let mut state = SetContents::default();
        if occasion != Occasion::Repair && !odd.sets.is_empty() {
            // Bans by rules are only in the kernel until their log message is read.
            self.adopt_state()?;
            state = self.state_of(&odd.sets);
        }
        match self.write_rules(rules, Some(&odd), state) {
            // What somebody has made of the table cannot be undone piece by piece.
            Err(e) if abi::LAYOUT_REFUSALS.contains(&e.errno()) => {
                self.write_rules(rules, None, SetContents::default())?;
                return Ok(self.write_state()?);
            }
            other => other?,
        }
        if occasion != Occasion::Change { self.reconcile() } else { Ok(()) }
    }

    /// Grants and bans that belong into these sets.
    fn state_of(&self, sets: &[String]) -> SetContents {
        let now = Instant::now();
        let (mut grants, mut bans) = (self.ledger.list_elements(now), self.ledger.list_bans(now));
        for elements in [&mut grants, &mut bans] {
            elements.retain(|element| sets.iter().any(|set| set == element.key.set_name()));
        }
        SetContents { grants, bans }
    }

    /// Writes the rules, and elements into sets that are new.
    fn write_rules(
        &mut self,
        rules: &Rules,
        odd: Option<&Misfits>,
        mut state: SetContents,
    ) -> Result<(), NetlinkError> {
        let mut fib = self.fib;
        loop {
            let done = self.transact(|batch| {
                build::build_table(batch, rules, fib, odd);
                add_elements(batch, &state.grants, 0);
                add_elements(batch, &state.bans, 0);
            });
            match done {
                // Not what somebody took away just now: that has another name.
                Err(e) if fib && e.errno() == libc::ENOENT && is_chain(&e, rules) => fib = false,
                // Baits went on filling the set while we counted. The grants matter more than the
                // list of those who touched a bait.
                Err(e) if is_full_of_bans(&e) && !state.bans.is_empty() => state.bans.clear(),
                Err(e) => return Err(e),
                Ok(()) => {
                    self.fib = fib;
                    return Ok(());
                }
            }
        }
    }

    /// Writes grants and bans into sets that are empty.
    fn write_state(&mut self) -> Result<(), NetlinkError> {
        let now = Instant::now();
        let (grants, bans) = (self.ledger.list_elements(now), self.ledger.list_bans(now));
        self.transact(|batch| add_elements(batch, &grants, 0))?;
        self.write_bans(&bans)
    }

    /// Adds bans that the kernel has lost.
    pub(super) fn put_bans_back(&mut self) -> Result<(), FirewallError> {
        let there: HashSet<_> = self.adopt_bans()?.iter().map(|ban| ban.network.addr()).collect();
        let mut bans = self.ledger.list_bans(Instant::now());
        bans.retain(|ban| !there.contains(&ban.key.first));
        Ok(self.write_bans(&bans)?)
    }

    fn write_bans(&mut self, bans: &[Element]) -> Result<(), NetlinkError> {
        match self.transact(|batch| add_elements(batch, bans, 0)) {
            Err(e) if is_full_of_bans(&e) => Ok(()),
            other => other,
        }
    }

    /// Applies the messages that `fill` writes, all or none.
    pub(super) fn transact(&mut self, fill: impl FnOnce(&mut Batch)) -> Result<(), NetlinkError> {
        let mut batch = Batch::new(abi::NFNL_SUBSYS_NFTABLES);
        fill(&mut batch);
        self.netlink.transact(abi::NFNL_SUBSYS_NFTABLES, batch)
    }

    /// Makes a change; when the table turns out to be gone, puts it back and makes it again: a
    /// knock between a foreign flush and the watcher's notice opens all the same. The change reads
    /// what it needs itself, for that may be gone as well.
    pub(super) fn change<T>(
        &mut self,
        change: impl Fn(&mut Self) -> Result<T, FirewallError>,
    ) -> Result<T, FirewallError> {
        for _ in 0..MAX_REPAIRS {
            match change(self) {
                Err(FirewallError::Missing(_)) if self.rules.is_some() => (),
                other => return other,
            }
            match self.restore() {
                Ok(()) | Err(FirewallError::Missing(_)) => (),
                Err(error) => return Err(error),
            }
        }
        change(self)
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

fn is_full_of_bans(error: &NetlinkError) -> bool {
    error.errno() == libc::ENFILE
        && SetName::find(error.about).is_some_and(|name| name.set == AddressSet::Ban)
}

/// True if the error is about a chain, and so about a rule of it.
fn is_chain(error: &NetlinkError, rules: &Rules) -> bool {
    ruleset::build_chains(rules, true).iter().any(|chain| chain.name == error.about)
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
