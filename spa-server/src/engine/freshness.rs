//! Which time stamps may still open: window, fence, floor; and the durable mark that is written
//! ahead.

use spa_proto::{Reason, SessionId};

use super::Now;
use super::settings::Settings;

/// The mark is written ahead in steps of this many milliseconds: one disk write covers every knock
/// up to it.
const MARK_STEP_MS: u64 = 10_000;
/// So far, in milliseconds, the start may move by itself, as a clock is slewed or rounded, without
/// a disk write.
const SLEW_MS: u64 = 1000;

/// A spent session, as a clean stop writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// The client's signing key.
    pub client: [u8; 32],
    /// The session.
    pub session: SessionId,
    /// Its time stamp, unix ms.
    pub ts_ms: u64,
    /// It opened; its eviction raises the client's floor.
    pub accepted: bool,
}

/// The replay state, as a clean stop writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Sessions whose time stamps may still be in the window.
    pub spent: Vec<Spent>,
    /// Per client: time stamps up to this one are refused.
    pub floors: Vec<([u8; 32], u64)>,
    /// The fence that was in force.
    pub fence_ms: u64,
}

/// What the store said at the start, and how far its mark has come.
#[derive(Clone, Debug)]
pub struct Freshness {
    fence_ms: u64,
    /// Nothing is known from before the start: the fence is the start plus this much, whenever the
    /// start really was.
    unknown_ms: Option<u64>,
    durable_ms: u64,
    asked_ms: Option<u64>,
    restored: Snapshot,
}

impl Freshness {
    /// No store, or one that could not be read: nothing is known about the past, so nothing from
    /// before the start may open. `start_ms` + future bound is the latest time stamp that can
    /// have been accepted before. When the wall clock is set forward afterwards, the start was
    /// later than it seemed, and the fence moves with it.
    #[must_use]
    pub fn unknown(start_ms: u64, settings: &Settings) -> Self {
        let future_ms = settings.future_ms();
        Self { unknown_ms: Some(future_ms), ..Self::fenced(start_ms.saturating_add(future_ms)) }
    }

    /// A store that was not closed: everything up to its mark may have opened.
    #[must_use]
    pub fn fenced(mark_ms: u64) -> Self {
        Self {
            fence_ms: mark_ms,
            unknown_ms: None,
            durable_ms: 0,
            asked_ms: None,
            restored: Snapshot::default(),
        }
    }

    /// A store that was closed cleanly.
    #[must_use]
    pub fn clean(snapshot: Snapshot) -> Self {
        let fence_ms = snapshot.fence_ms;
        Self { restored: snapshot, ..Self::fenced(fence_ms) }
    }

    /// What a clean stop left, to be taken once: it may name every client that ever knocked.
    pub(super) fn take_restored(&mut self) -> Snapshot {
        std::mem::take(&mut self.restored)
    }

    /// Time stamps up to this one are refused, if the start was at `started_ms`.
    #[must_use]
    pub(super) fn fence_ms(&self, started_ms: u64) -> u64 {
        let start = self.unknown_ms.map(|future_ms| started_ms.saturating_add(future_ms));
        self.fence_ms.max(start.unwrap_or(0))
    }

    /// The mark to write at the start, so that the fence outlives a crash.
    #[must_use]
    pub fn first_mark_ms(&self) -> u64 {
        self.fence_ms.saturating_add(self.unknown_ms.map_or(0, |_| SLEW_MS))
    }

    /// The mark to write when the fence has moved further than the first mark covers.
    pub(super) fn ask_moved(&mut self, started_ms: u64) -> Option<u64> {
        let fence_ms = self.fence_ms(started_ms);
        if fence_ms > self.first_mark_ms() { self.mark_to_write(fence_ms) } else { None }
    }

    /// Whether a time stamp may open now.
    pub(super) fn check_timestamp(
        &self,
        ts_ms: u64,
        floor_ms: u64,
        started_ms: u64,
        settings: &Settings,
        now: Now,
    ) -> Result<(), Reason> {
        if self.is_past(ts_ms, settings, now) {
            Err(Reason::Past)
        } else if ts_ms > now.unix_ms.saturating_add(settings.future_ms()) {
            Err(Reason::Future)
        } else if ts_ms <= self.fence_ms(started_ms) {
            Err(Reason::Fence)
        } else if ts_ms <= floor_ms {
            Err(Reason::Floor)
        } else {
            Ok(())
        }
    }

    /// Whether a time stamp is older than the window.
    pub(super) fn is_past(&self, ts_ms: u64, settings: &Settings, now: Now) -> bool {
        ts_ms.saturating_add(settings.past_ms()) < now.unix_ms
    }

    /// Whether this time stamp is durably spent already.
    pub(super) fn is_durable(&self, ts_ms: u64) -> bool {
        ts_ms <= self.durable_ms
    }

    /// The mark to write so that `ts_ms` is covered; `None` when that is done or under way.
    pub(super) fn mark_to_write(&mut self, ts_ms: u64) -> Option<u64> {
        if self.is_durable(ts_ms) || self.asked_ms.is_some() {
            return None;
        }
        let mark = (ts_ms / MARK_STEP_MS).saturating_add(1).saturating_mul(MARK_STEP_MS);
        self.asked_ms = Some(mark);
        Some(mark)
    }

    /// The write that was asked for has ended.
    pub(super) fn note_written(&mut self, durable_ms: Option<u64>) {
        self.asked_ms = None;
        self.durable_ms = self.durable_ms.max(durable_ms.unwrap_or(0));
    }
}
