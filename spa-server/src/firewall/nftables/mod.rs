//! Backend `nftables`: one table `inet spa`, spoken to over netlink; no `nft` binary is needed.
//!
//! State lives in sets whose elements carry the kernel's own timers, rules are made from
//! [`Rules`] (`ruleset.rs`) and replaced as a whole. A restarted server reads its grants back from
//! the comments beside their elements (`comment.rs`). What several grants share, and what has to be
//! put back after somebody's `flush ruleset`, is in `ledger.rs`. [`print()`] shows the ruleset as
//! text.

mod abi;
mod anonymous;
mod backend;
mod bound;
mod build;
mod comment;
mod conntrack;
mod cut;
mod expr;
mod fill;
mod foreign;
mod forward;
mod key;
mod ledger;
mod model;
mod obstacles;
mod older;
mod read;
mod ruleset;
mod sets;
mod text;
mod verify;
mod watch;
mod wide;
mod writer;

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

pub use text::print;
pub use watch::Watcher;

use self::key::{Key, What};
use self::ledger::{Ledger, Plan};
use self::model::{BAN, Family};
use self::read::Layout;
use self::sets::Element;
use super::netlink::message::EXCLUSIVE;
use super::netlink::{Batch, NetlinkError, NetlinkSocket};
use super::{Authenticated, Ban, Firewall, FirewallError, LiveGrant, Obstacle, Rules};
use crate::domain::grant::{Grant, GrantId};

/// Name of our table, of family inet.
const TABLE: &str = "spa";
/// The table, in errors.
const ABOUT_TABLE: &str = "table inet spa";
/// High byte of a message type: the subsystem.
const SUBSYSTEM_MASK: u16 = 0xff00;
/// What the log prefix of a bait hit begins with; the group's name and a space follow.
pub(super) const BAIT_PREFIX: &str = "spa bait ";
/// Bans remembered before any rules are installed.
const BANS_BEFORE_RULES: usize = 65_536;

/// The backend. It acts in the network namespace of the thread that made it.
#[derive(Debug)]
pub struct Nftables {
    netlink: NetlinkSocket,
    ledger: Ledger,
    rules: Option<Rules>,
    /// Whether this kernel has the fib expression.
    fib: bool,
}

impl Nftables {
    /// Connects to the kernel and reads the grants and bans that an earlier server left running.
    ///
    /// # Errors
    /// [`FirewallError::Permission`] without `CAP_NET_ADMIN`; what else the kernel says.
    pub fn new() -> Result<Self, FirewallError> {
        let netlink = NetlinkSocket::open().map_err(|e| FirewallError::Other(e.to_string()))?;
        let ledger = Ledger::new(BANS_BEFORE_RULES);
        let mut this = Self { netlink, ledger, rules: None, fib: true };
        this.adopt()?;
        Ok(this)
    }

    /// A watcher for changes that are not made by this value.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn watcher(&self) -> io::Result<Watcher> {
        Watcher::new(self.netlink.port())
    }

    /// Puts the table back as it was last installed: rules, live grants and bans with the time
    /// that is left to them. Marks of sequences are not put back, they last seconds. Without an
    /// install before, nothing is done.
    ///
    /// # Errors
    /// As [`Firewall::install`].
    pub fn restore(&mut self) -> Result<(), FirewallError> {
        match self.rules.take() {
            Some(rules) => {
                let done = self.put(&rules, true);
                self.rules = Some(rules);
                done
            }
            None => Ok(()),
        }
    }

    /// Remembers a ban that a bait rule made, so that [`Self::restore`] can put it back. At most
    /// `ban_limit` per family are remembered.
    pub fn note_ban(&mut self, source: IpAddr, time: Duration) {
        self.ledger.ban(source, time, Instant::now());
    }

    /// What would still drop a granted packet if these rules were installed. Changes nothing.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn obstacles_to(&mut self, rules: &Rules) -> Result<Vec<Obstacle>, FirewallError> {
        obstacles::find(&mut self.netlink, Some(rules)).map_err(refused)
    }

    /// Enters what the kernel has and we do not know.
    fn adopt(&mut self) -> Result<(), FirewallError> {
        let now = Instant::now();
        self.ledger.prune(now);
        let (found, counts) =
            read::grants(&mut self.netlink, &self.ledger, now).map_err(refused)?;
        for live in found {
            if self.ledger.grant(live.grant.id).is_none() {
                self.ledger.enter(live.grant, live.left, now);
            }
        }
        self.ledger.take_counts(counts);
        self.adopt_bans()?;
        Ok(())
    }

    fn adopt_bans(&mut self) -> Result<Vec<Ban>, FirewallError> {
        let now = Instant::now();
        let found = read::elements(&mut self.netlink, BAN).map_err(refused)?;
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

    /// Makes the table be as the rules say, in one transaction; with `heal`, or when the table has
    /// to be made anew, its grants and bans as the ledger says.
    fn put(&mut self, rules: &Rules, heal: bool) -> Result<(), FirewallError> {
        self.ledger.ban_limit = usize::try_from(rules.ban_limit.max(1)).unwrap_or(usize::MAX);
        let layout = read::layout(
            &mut self.netlink,
            &ruleset::sets(rules),
            &ruleset::chains(rules, self.fib),
        )
        .map_err(refused)?;
        if layout != Layout::Missing && (heal || layout == Layout::Differs) {
            // Bans by rules are only in the kernel until their log message is read.
            self.adopt()?;
        }
        if layout == Layout::Missing && !heal {
            self.keep_older();
        }
        if layout == Layout::Fits {
            match self.transact_table(rules, false, heal) {
                // An older layout of chains, or a foreign hand: only a new table can help.
                Err(e) if abi::REFUSALS.contains(&e.errno()) => self.adopt()?,
                other => return other.map_err(refused),
            }
        }
        self.transact_table(rules, true, true).map_err(refused)
    }

    fn transact_table(
        &mut self,
        rules: &Rules,
        fresh: bool,
        state: bool,
    ) -> Result<(), NetlinkError> {
        let now = Instant::now();
        let (grants, mut bans) = if state {
            (self.ledger.elements(now), self.ledger.bans(now))
        } else {
            Default::default()
        };
        let mut fib = self.fib;
        loop {
            let done = self.transact(|batch| {
                build::table(batch, rules, fib, fresh);
                sets::replace(batch, &grants);
                // Not replaced: bans are many, and one that is there has its own timer already.
                sets::add(batch, &bans, 0);
            });
            match done {
                Err(e) if fib && e.errno() == libc::ENOENT => fib = false,
                // Baits went on filling the set while we counted. The door matters more than the
                // list of those who touched it.
                Err(e) if e.errno() == libc::ENFILE && !bans.is_empty() && is_ban(e.about) => {
                    bans.clear()
                }
                Err(e) => return Err(e),
                Ok(()) => {
                    self.fib = fib;
                    return Ok(());
                }
            }
        }
    }

    fn transact(&mut self, fill: impl FnOnce(&mut Batch)) -> Result<(), NetlinkError> {
        let mut batch = Batch::new(abi::SUBSYSTEM);
        fill(&mut batch);
        self.netlink.transact(abi::SUBSYSTEM, batch)
    }

    /// Does it, and when the table turns out to be gone, puts it back and does it again: a knock
    /// that comes between a foreign flush and the watcher's notice opens all the same.
    fn healing<T>(
        &mut self,
        what: impl Fn(&mut Self) -> Result<T, NetlinkError>,
    ) -> Result<T, FirewallError> {
        match what(self) {
            Err(e) if e.errno() == libc::ENOENT && self.rules.is_some() => {
                self.restore()?;
                what(self).map_err(refused)
            }
            other => other.map_err(refused),
        }
    }

    /// Reads the counters of those of a grant's elements that are there already, for they are about
    /// to be written anew. What comes through in the microseconds until then is not counted.
    fn recount(&mut self, grant: &Grant) -> Result<(), NetlinkError> {
        let keys = self.ledger.counting(grant, Instant::now());
        let found = read::counts(&mut self.netlink, &keys)?;
        self.ledger.take_counts(found.into_iter().map(|f| (f.key, f.count)));
        Ok(())
    }

    fn strict(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.authenticated == Authenticated::Strict)
    }

    /// Writes and deletes. A delete may come too late, after the kernel's own timer: the rest is
    /// done all the same.
    fn carry_out(
        &mut self,
        Plan { write, clear, delete, fresh }: &Plan,
    ) -> Result<(), NetlinkError> {
        if *fresh && delete.is_empty() && clear.is_empty() {
            // A third of the messages, and no delete for the kernel to clean up after.
            match self.transact(|batch| sets::add(batch, write, EXCLUSIVE)) {
                Err(e) if e.errno() == libc::EEXIST => (),
                other => return other,
            }
        }
        let all = self.transact(|batch| {
            sets::clear(batch, clear);
            sets::replace(batch, write);
            sets::delete(batch, delete);
        });
        match all {
            Err(e) if e.errno() == libc::ENOENT && !delete.is_empty() => {
                self.transact(|batch| {
                    sets::clear(batch, clear);
                    sets::replace(batch, write);
                })?;
                for key in delete {
                    match self.transact(|batch| sets::delete(batch, &[*key])) {
                        Err(e) if e.errno() != libc::ENOENT => return Err(e),
                        _ => (),
                    }
                }
                Ok(())
            }
            other => other,
        }
    }
}

fn is_ban(set: &str) -> bool {
    Family::BOTH.iter().any(|family| BAN.of(*family) == set)
}

fn refused(error: NetlinkError) -> FirewallError {
    match error.errno() {
        libc::EPERM | libc::EACCES => FirewallError::Permission(error.to_string()),
        // The kernel's word for a set at its size is "too many open files in system".
        libc::ENFILE => FirewallError::Full(error.about.into()),
        libc::ENOENT => FirewallError::Missing(error.to_string()),
        _ => FirewallError::Other(error.to_string()),
    }
}
