//! Repair of our table in the kernel after somebody else changed it.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use super::request_handler::RequestHandler;
use crate::firewall::nftables::{Noticed, Watcher};
use crate::ipc::message::ListenerOrder;
use crate::log::{self, Level};

/// Delay until a table that could not be put back is tried again.
const RESTORE_RETRY_DELAY: Duration = Duration::from_secs(1);
/// Least time between two looks at a table about which notices were lost.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The kernel's word about changes of our table.
pub(super) struct TableWatch {
    watcher: Option<Watcher>,
    /// The table has to be put back: not before then.
    again: Option<Instant>,
    /// Notices were lost, and the table has to be looked at: not before then.
    unseen: Option<Instant>,
    /// When it was last looked at for that.
    looked: Option<Instant>,
    /// Rules of others have changed, and have to be looked at: not before then.
    foreign: Option<Instant>,
    /// When they were last looked at.
    foreign_looked: Option<Instant>,
}

impl TableWatch {
    /// Without a watcher there is no table.
    pub(super) fn new(watcher: Option<Watcher>) -> Self {
        Self {
            watcher,
            again: None,
            unseen: None,
            looked: None,
            foreign: None,
            foreign_looked: None,
        }
    }

    /// Where the kernel tells of changes.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.watcher.as_ref().map(|watcher| watcher.as_fd())
    }

    /// When a repair is tried again, or the table or those of others looked at.
    pub(super) fn due(&self) -> Option<Instant> {
        self.again.into_iter().chain(self.unseen).chain(self.foreign).min()
    }

    /// Tells whether it is time to look at rules of others that have changed.
    pub(super) fn foreign_rules_changed(&mut self) -> bool {
        let now = Instant::now();
        if self.watcher.as_mut().is_some_and(Watcher::take_foreign_change) {
            let next = self.foreign_looked.map_or(now, |looked| looked + LOOK_INTERVAL);
            self.foreign.get_or_insert(next);
        }
        let due = self.foreign.is_some_and(|at| at <= now);
        if due {
            (self.foreign, self.foreign_looked) = (None, Some(now));
        }
        due
    }

    /// Puts the table back when somebody else changed it, or a repair is due. Returns what the
    /// listener is to be told.
    pub(super) fn repair_table(
        &mut self,
        changed: bool,
        handler: &mut RequestHandler,
    ) -> Option<ListenerOrder> {
        let now = Instant::now();
        let heard = match &mut self.watcher {
            Some(watcher) if changed => watcher.drain().unwrap_or_else(|error| {
                log::event(Level::Error, "firewall-watch").with("error", error).emit();
                Noticed::Change
            }),
            _ => Noticed::Nothing,
        };
        if heard == Noticed::Loss && self.unseen.is_none() {
            // Whoever floods us with notices must not have us read the table all the time.
            self.unseen = Some(self.looked.map_or(now, |looked| looked + LOOK_INTERVAL));
        }
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let mut broken = heard == Noticed::Change || due(self.again);
        if !broken && due(self.unseen) {
            (self.unseen, self.looked) = (None, Some(now));
            broken = handler.find_difference().is_some();
        }
        if !broken {
            return None;
        }
        match handler.firewall.restore() {
            Ok(()) => {
                (self.again, self.unseen) = (None, None);
                Some(ListenerOrder::Restored)
            }
            Err(error) => {
                self.again = Some(Instant::now() + RESTORE_RETRY_DELAY);
                Some(ListenerOrder::NotRestored { text: error.to_string() })
            }
        }
    }
}
