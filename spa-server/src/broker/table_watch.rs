//! Repair of our table in the kernel after somebody else changed it.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use super::request_handler::RequestHandler;
use crate::firewall::nftables::Watcher;
use crate::ipc::message::ListenerOrder;
use crate::log::{self, Level};

/// Delay until a table that could not be put back is tried again.
const RESTORE_RETRY_DELAY: Duration = Duration::from_secs(1);

/// The kernel's word about changes of our table.
pub(super) struct TableWatch {
    watcher: Option<Watcher>,
    /// The table has to be put back: not before then.
    again: Option<Instant>,
}

impl TableWatch {
    /// Without a watcher there is no table.
    pub(super) fn new(watcher: Option<Watcher>) -> Self {
        Self { watcher, again: None }
    }

    /// Where the kernel tells of changes.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.watcher.as_ref().map(|watcher| watcher.as_fd())
    }

    /// When a repair is tried again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.again
    }

    /// Puts the table back when somebody else changed it, or a repair is due. Returns what the
    /// listener is to be told.
    pub(super) fn repair_table(
        &mut self,
        changed: bool,
        handler: &mut RequestHandler,
    ) -> Option<ListenerOrder> {
        let due = self.again.is_some_and(|again| again <= Instant::now());
        let heard = match &mut self.watcher {
            Some(watcher) if changed => watcher.drain().unwrap_or_else(|error| {
                log::event(Level::Error, "firewall-watch").with("error", error).emit();
                true
            }),
            _ => false,
        };
        if !due && !heard {
            return None;
        }
        match handler.restore_table() {
            Ok(()) => {
                self.again = None;
                Some(ListenerOrder::Restored)
            }
            Err(error) => {
                self.again = Some(Instant::now() + RESTORE_RETRY_DELAY);
                Some(ListenerOrder::NotRestored { text: error.to_string() })
            }
        }
    }
}
