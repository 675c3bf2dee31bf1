//! Sessions in progress.

use std::net::IpAddr;
use std::time::Duration;

use spa_proto::{KemFragment, KemPublic, MAX_STAGES, OpenError, SealedBody, ServerSession};

use super::Now;
use super::registry::PeerId;
use super::sequence::Sequence;
use crate::domain::datagram::Datagram;

/// Request of a packet that passed AEAD and signature.
pub(super) struct AuthenticRequest {
    /// Client that made it, and key of the server that it was made for.
    pub(super) peer: PeerId,
    /// Session keys: they open the session's packets and seal its answers.
    pub(super) keys: ServerSession,
    /// Request as it was sealed.
    pub(super) request: SealedBody,
    /// Tag epoch of the session.
    pub(super) epoch: u64,
    /// ML-KEM key, when the request has one and all its pieces are here.
    pub(super) kem: Option<KemPublic>,
}

/// A stage, opened: the request, and its piece of an ML-KEM key.
pub(super) type OpenedStage = (SealedBody, Option<KemFragment>);

/// Opens the datagram of a stage. `kem_stages`: over so many an ML-KEM key may be split.
pub(super) fn open_stage(
    keys: &ServerSession,
    datagram: Datagram<'_>,
    epoch: u64,
    stage: u8,
    kem_stages: Option<u8>,
) -> Result<OpenedStage, OpenError> {
    let (payload, port) = (datagram.payload, datagram.destination.port());
    match kem_stages {
        Some(stages) => keys.open_with_kem(payload, epoch, stage, port, stages),
        None => keys.open(payload, epoch, stage, port).map(|request| (request, None)),
    }
}

impl AuthenticRequest {
    /// Client's time stamp minus our clock, milliseconds.
    pub(super) fn skew_ms(&self, now: Now) -> i64 {
        signed_difference(self.request.body.ts_ms, now.unix_ms)
    }

    /// Tells whether the request is bound to another source than this.
    pub(super) fn is_bound_elsewhere(&self, source: IpAddr) -> bool {
        self.request.body.bind_src.is_some_and(|bound| bound != source.to_canonical())
    }
}

/// Difference `a - b`, bounded by the range of the type.
pub(super) fn signed_difference(a: u64, b: u64) -> i64 {
    let apart = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if a >= b { apart } else { -apart }
}

/// A session whose request is verified and whose sequence is not complete. It has one progress,
/// whatever sources its packets come from: a copy of a stage is as good as the stage, and who
/// gets the grant is settled later.
pub(super) struct Pending {
    /// Request of the first packet; every later one must say the same.
    pub(super) authentic: AuthenticRequest,
    /// Source of the first packet; of a bound session the address that it is bound to.
    pub(super) first_source: IpAddr,
    /// Stages that have come.
    pub(super) progress: Progress,
    /// Their pieces of an ML-KEM key, by stage.
    fragments: [Option<KemFragment>; MAX_STAGES as usize],
    /// When the whole session ends.
    pub(super) ends: Duration,
    /// The second source has been logged.
    pub(super) told: bool,
}

impl Pending {
    /// Begins a session with the first stage that came.
    pub(super) fn new(
        authentic: AuthenticRequest,
        first_source: IpAddr,
        now: Now,
        sequence: &Sequence,
    ) -> Self {
        Self {
            authentic,
            first_source,
            progress: Progress::new(now.mono, sequence),
            fragments: Default::default(),
            ends: now.mono.saturating_add(sequence.longest_session()),
            told: false,
        }
    }

    /// Keeps a stage's piece of an ML-KEM key.
    pub(super) fn keep_fragment(&mut self, stage: u8, fragment: Option<KemFragment>) {
        if let (Some(place), Some(_)) = (self.fragments.get_mut(usize::from(stage)), &fragment) {
            *place = fragment;
        }
    }

    /// Takes the request, when all stages have come.
    pub(super) fn into_request(self) -> AuthenticRequest {
        let fragments: Vec<KemFragment> = self.fragments.into_iter().flatten().collect();
        AuthenticRequest { kem: KemPublic::join(&fragments), ..self.authentic }
    }

    /// Nobody can complete it any more.
    pub(super) fn is_expired(&self, now: Duration) -> bool {
        now > self.ends || self.progress.is_overdue(now)
    }
}

/// Progress of a session in the sequence.
pub(super) struct Progress {
    /// The stage that is due.
    next: u8,
    /// When the due stage is late.
    deadline: Duration,
    /// When each stage that overtook its predecessors came.
    held: [Option<Duration>; MAX_STAGES as usize],
}

/// Effect of a stage on the progress.
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

impl Progress {
    /// Begins at the first stage; `now`: monotonic.
    pub(super) fn new(now: Duration, sequence: &Sequence) -> Self {
        Self {
            next: 0,
            deadline: now.saturating_add(sequence.timeout),
            held: [None; MAX_STAGES as usize],
        }
    }

    /// The due stage is overdue: the session is lost.
    fn is_overdue(&self, now: Duration) -> bool {
        now > self.deadline
    }

    /// Tells whether this stage has come already.
    pub(super) fn is_done(&self, stage: u8) -> bool {
        stage < self.next
    }

    /// A stage arrives. Nothing resets the progress: what does not fit is ignored.
    pub(super) fn take_stage(
        &mut self,
        stage: u8,
        now: Duration,
        sequence: &Sequence,
    ) -> StageOutcome {
        if self.is_done(stage) || self.is_overdue(now) {
            return StageOutcome::Ignored;
        }
        if stage > self.next {
            // The latest copy counts: the client's own resend must not suffer from one that an
            // observer sent too early.
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
