//! The clocks of the running server.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use spa_keys::UnixMillis;

use crate::engine::Now;

/// Monotonic time since the machine's start, which the next run of the server goes on with, and
/// the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Duration,
}

impl Clock {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { started: read_monotonic() }
    }

    /// Time since the start.
    #[must_use]
    pub fn up_time(&self) -> Duration {
        read_monotonic().saturating_sub(self.started)
    }

    /// Both clocks. A wall clock before 1970 reads 0: every time stamp is then in the future and
    /// refused.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { mono: read_monotonic(), unix_ms: UnixMillis::now().as_millis() }
    }
}

/// The clock that stands while the machine is suspended, which the wall clock does not: that shows.
fn read_monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}
