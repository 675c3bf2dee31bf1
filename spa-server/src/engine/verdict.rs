//! Verdicts: what a session is told.

use std::time::Duration;

use spa_proto::{Reason, Status};

/// Answer to a session, as its ack tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Status of the ack.
    pub(super) status: Status,
    /// Rule that refused, or none.
    pub(super) reason: Reason,
    /// Seconds that a grant lasts, or that a stale client is to wait.
    pub(super) ttl_s: u16,
    /// Set for a grant that a CONFIRM is to keep.
    pub(super) provisional: bool,
}

impl Verdict {
    /// A grant of this time, rounded down to seconds.
    pub(super) fn granted(ttl: Duration) -> Self {
        let ttl_s = u16::try_from(ttl.as_secs()).unwrap_or(u16::MAX);
        Self { status: Status::Granted, reason: Reason::None, ttl_s, provisional: false }
    }

    /// Granted for a moment; `ttl` is what a CONFIRM gets.
    pub(super) fn provisional(ttl: Duration) -> Self {
        Self { provisional: true, ..Self::granted(ttl) }
    }

    /// A refusal by policy.
    pub(super) fn denied(reason: Reason) -> Self {
        Self { status: Status::Denied, reason, ttl_s: 0, provisional: false }
    }

    /// A refusal for lack of room, which a later try may not meet.
    pub(super) fn busy(reason: Reason) -> Self {
        Self { status: Status::Busy, ..Self::denied(reason) }
    }

    /// A refusal of the time stamp; the client waits so long, rounded up to seconds.
    pub(super) fn stale(reason: Reason, wait_ms: u64) -> Self {
        let wait_s = wait_ms / 1000 + u64::from(wait_ms > 0);
        let ttl_s = u16::try_from(wait_s).unwrap_or(u16::MAX);
        Self { status: Status::Stale, ttl_s, ..Self::denied(reason) }
    }

    /// Returns true for a grant, provisional or not.
    pub(super) fn is_granted(self) -> bool {
        self.status == Status::Granted
    }
}
