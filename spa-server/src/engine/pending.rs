//! Sessions in progress.

use std::net::IpAddr;
use std::time::Duration;

use spa_proto::{MAX_STAGES, SealedBody, ServerSession};

use super::Now;
use super::registry::PeerId;
use super::sequence::Sequence;

/// Sources whose progress is kept apart within one session. A copy of a client's packets sent from
/// elsewhere gets a track of its own and cannot hold up the client's.
pub(super) const MAX_TRACKS: usize = 4;

/// Request of a packet that passed the AEAD.
pub(super) struct AuthenticRequest {
    /// Client that made it, and key of the server that it was made for.
    pub(super) peer: PeerId,
    /// Session keys: they open the session's packets and seal its ack.
    pub(super) keys: ServerSession,
    /// Request as it was sealed.
    pub(super) request: SealedBody,
}

impl AuthenticRequest {
    /// Client's time stamp minus our clock, milliseconds.
    pub(super) fn skew_ms(&self, now: Now) -> i64 {
        signed_difference(self.request.body.ts_ms, now.unix_ms)
    }
}

/// Difference `a - b`, bounded by the range of the type.
pub(super) fn signed_difference(a: u64, b: u64) -> i64 {
    let apart = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if a >= b { apart } else { -apart }
}

/// A session whose request is verified and whose sequence is not complete.
pub(super) struct Pending {
    /// Request of the first packet; every later one must say the same.
    pub(super) authentic: AuthenticRequest,
    /// Where the first packet came from; the only source when the request is bound to it.
    pub(super) first_source: IpAddr,
    pub(super) tracks: Vec<Track>,
    /// When the whole session ends, however many sources keep it up.
    pub(super) ends: Duration,
    /// The second source has been logged.
    pub(super) told: bool,
}

impl Pending {
    /// Nobody can complete it any more.
    pub(super) fn is_expired(&self, now: Duration) -> bool {
        now > self.ends || self.tracks.iter().all(|track| track.is_overdue(now))
    }
}

/// How far one source has come in the sequence.
pub(super) struct Track {
    pub(super) source: IpAddr,
    /// The stage that is due.
    pub(super) next: u8,
    /// When the due stage is late.
    deadline: Duration,
    /// When each stage that overtook its predecessors came.
    held: [Option<Duration>; MAX_STAGES as usize],
}

/// What a stage did to its track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StageOutcome {
    /// It was the due one; more are to come.
    Accepted,
    /// It was the last one missing.
    Complete,
    /// It came before its predecessors and is held for a moment.
    Held,
    /// A duplicate, or late.
    Ignored,
}

impl Track {
    pub(super) fn new(source: IpAddr, now: Duration, sequence: &Sequence) -> Self {
        Self {
            source,
            next: 0,
            deadline: now.saturating_add(sequence.timeout),
            held: [None; MAX_STAGES as usize],
        }
    }

    /// The due stage is overdue: this source has lost the session.
    pub(super) fn is_overdue(&self, now: Duration) -> bool {
        now > self.deadline
    }

    /// A stage arrives. Nothing resets a track: what does not fit is ignored.
    pub(super) fn take_stage(
        &mut self,
        stage: u8,
        now: Duration,
        sequence: &Sequence,
    ) -> StageOutcome {
        if stage < self.next || self.is_overdue(now) {
            return StageOutcome::Ignored;
        }
        if stage > self.next {
            if let Some(held) = self.held.get_mut(usize::from(stage)) {
                *held = Some(now);
            }
            return StageOutcome::Held;
        }
        self.next += 1;
        self.deadline = now.saturating_add(sequence.timeout);
        // What overtook this stage is applied now, if it did not come too early: the order is
        // proved by the authenticated stage number, the wait bounds how far the network may
        // have mixed them up.
        while let Some(Some(since)) = self.held.get(usize::from(self.next)) {
            if now.saturating_sub(*since) > sequence.reorder {
                break;
            }
            self.next += 1;
        }
        if self.next >= sequence.stages() { StageOutcome::Complete } else { StageOutcome::Accepted }
    }
}
