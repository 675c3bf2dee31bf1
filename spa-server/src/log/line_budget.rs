//! A bound of the lines that one peer can cause, and the count of those that were left out.

use std::time::Duration;

use crate::domain::bucket::{Bucket, Rate};

/// Lines that one peer may cause at once, and the time in which it may cause one more: 10 MB a day.
const PEER_RATE: Rate = Rate { burst: 256, each: Duration::from_secs(2) };
/// Lines of one event, whoever causes them.
const EVENT_RATE: Rate = Rate { burst: 4096, each: Duration::from_secs(1) };

/// Lines that may be written.
#[derive(Clone, Copy, Debug)]
pub struct LineBudget {
    lines: Bucket,
    left_out: u64,
}

impl LineBudget {
    /// The lines of a peer, none taken yet. `now`: monotonic.
    #[must_use]
    pub fn of_peer(now: Duration) -> Self {
        Self { lines: Bucket::new_full(PEER_RATE, now), left_out: 0 }
    }

    /// The lines of an event.
    pub(super) fn of_event(now: Duration) -> Self {
        Self { lines: Bucket::new_full(EVENT_RATE, now), left_out: 0 }
    }

    /// Takes one line. Answers how many were left out before it, to be written with it; `None`: it
    /// is left out too.
    pub fn take_line(&mut self, now: Duration) -> Option<u64> {
        if self.lines.take_token(now) {
            return Some(std::mem::take(&mut self.left_out));
        }
        self.left_out = self.left_out.saturating_add(1);
        None
    }

    /// Lines that were left out, and that no line has told of yet.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Tells whether it is as good as a new one.
    pub fn is_unused(&mut self, now: Duration) -> bool {
        self.left_out == 0 && self.lines.is_full(now)
    }
}
