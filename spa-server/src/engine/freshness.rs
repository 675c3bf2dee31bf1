//! Which time stamps may still open: window, fence, floor.
//!
//! What is unknown of the past is kept as a moment of the monotonic clock, not as a time of the
//! wall clock: an absolute time from a clock that was wrong would let used knocks in again, or keep
//! everybody out for as long as it was wrong.

use std::time::Duration;

use spa_keys::whole_millis;
use spa_proto::{Reason, SessionId};

use super::Now;
use super::action::ClockStep;
use super::settings::Settings;

/// Added to the fence, in milliseconds: what rounding and slewing of clocks may lose.
const FENCE_MARGIN_MS: u64 = 1000;
/// The wall clock has jumped when it ran ahead of the monotonic one by more than this, in
/// milliseconds: a restored virtual machine, a suspended host, a clock that was set.
const JUMP_MS: u64 = 1000;
/// Lead that a mark may have over time stamps accepted under a right clock: a step of it, and as
/// much again for clocks that are corrected by seconds.
const MARK_SLACK: Duration = Duration::from_secs(20);
/// The largest reach of time stamps that any configuration allows.
pub const LONGEST_REACH: Duration = Duration::from_secs(60);

/// A spent session, as a clean stop writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// The client's signing key.
    pub client: [u8; 32],
    /// The session.
    pub session: SessionId,
    /// Time stamp of the session, unix ms.
    pub ts_ms: u64,
    /// It opened; its eviction raises the client's floor.
    pub accepted: bool,
}

/// Everything up to which nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnknownPast {
    /// Mark that was found at the start, unix ms: time stamps up to it may have been accepted.
    pub mark_ms: u64,
    /// Unknown moment, by the monotonic clock: nothing is known of what was accepted before it.
    pub since: Duration,
    /// Lead over the clock that a time stamp accepted before it may have had.
    pub reach: Duration,
}

/// The replay state, as a clean stop writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplaySnapshot {
    /// Sessions that never work again.
    pub spent: Vec<Spent>,
    /// Per client: time stamps up to this one are refused.
    pub floors: Vec<([u8; 32], u64)>,
    /// The past that is unknown to the run.
    pub unknown: UnknownPast,
}

/// The store's state at the start, and the unknown past.
#[derive(Clone, Debug)]
pub struct Freshness {
    unknown: UnknownPast,
    restored: ReplaySnapshot,
    /// The last look at the clocks.
    looked: Option<Now>,
}

impl Freshness {
    /// A past of which only a mark is known, up to the moment `since`; `reach` is how far ahead
    /// of the clock time stamps were accepted before it.
    #[must_use]
    pub fn unknown(mark_ms: u64, since: Duration, reach: Duration) -> Self {
        let unknown = UnknownPast { mark_ms, since, reach };
        Self { unknown, restored: ReplaySnapshot::default(), looked: None }
    }

    /// A snapshot that is trusted: this run goes on where the last one stopped.
    #[must_use]
    pub fn trusted(snapshot: ReplaySnapshot) -> Self {
        let UnknownPast { mark_ms, since, reach } = snapshot.unknown;
        Self { restored: snapshot, ..Self::unknown(mark_ms, since, reach) }
    }

    /// Takes what a clean stop left, once: it may name every client that ever knocked.
    pub(super) fn take_restored(&mut self) -> ReplaySnapshot {
        std::mem::take(&mut self.restored)
    }

    /// The past that is unknown to this run.
    #[must_use]
    pub fn unknown_past(&self) -> UnknownPast {
        self.unknown
    }

    /// Compares the clocks with the last look. A wall clock that ran ahead makes the past unknown:
    /// the machine may be one that was put back.
    pub(super) fn look_at_clocks(&mut self, settings: &Settings, now: Now) -> Option<ClockStep> {
        let before = self.looked.replace(now)?;
        let mono_ms = whole_millis(now.mono.saturating_sub(before.mono));
        let expected = before.unix_ms.saturating_add(mono_ms);
        let (ahead, back) =
            (now.unix_ms.saturating_sub(expected), expected.saturating_sub(now.unix_ms));
        if ahead > JUMP_MS {
            self.unknown.since = now.mono;
            self.unknown.reach = self.unknown.reach.max(settings.window_future);
            return Some(ClockStep::Ahead(ahead));
        }
        (back > JUMP_MS).then_some(ClockStep::Back(back))
    }

    /// Time stamps up to this one are refused: the mark of before the start, or the unknown moment
    /// by the wall clock of now, whichever is later.
    pub(super) fn fence_ms(&self, now: Now) -> u64 {
        let UnknownPast { mark_ms, since, reach } = self.unknown;
        let known_ms = whole_millis(now.mono.saturating_sub(since));
        let moment = now.unix_ms.saturating_sub(known_ms);
        mark_ms.max(moment.saturating_add(whole_millis(reach)).saturating_add(FENCE_MARGIN_MS))
    }

    /// Lead of the mark of before the start over the clock, when no clock that was right could have
    /// brought it about.
    pub(super) fn clock_behind(&self, now: Now) -> Option<Duration> {
        let ahead = Duration::from_millis(self.unknown.mark_ms.saturating_sub(now.unix_ms));
        (ahead > self.unknown.reach.saturating_add(MARK_SLACK)).then_some(ahead)
    }

    /// Believes the clock of now in the place of the mark: what came before is unknown.
    pub(super) fn accept_clock(&mut self, settings: &Settings, now: Now) {
        let reach = self.unknown.reach.max(settings.window_future);
        self.unknown = UnknownPast { mark_ms: 0, since: now.mono, reach };
    }

    /// Checks that a time stamp may open now.
    pub(super) fn check_timestamp(
        &self,
        ts_ms: u64,
        floor_ms: u64,
        settings: &Settings,
        now: Now,
    ) -> Result<(), Reason> {
        if self.is_past(ts_ms, settings, now) {
            Err(Reason::Past)
        } else if ts_ms > now.unix_ms.saturating_add(settings.future_ms()) {
            Err(Reason::Future)
        } else if ts_ms <= self.fence_ms(now) {
            Err(Reason::Fence)
        } else if ts_ms <= floor_ms {
            Err(Reason::Floor)
        } else {
            Ok(())
        }
    }

    /// Returns true if a time stamp is older than the window.
    pub(super) fn is_past(&self, ts_ms: u64, settings: &Settings, now: Now) -> bool {
        ts_ms.saturating_add(settings.past_ms()) < now.unix_ms
    }
}
