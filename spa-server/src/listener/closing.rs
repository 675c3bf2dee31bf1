//! Grants are closed a few at a time: thousands at once, by an administrator or by a reload, must
//! not hold up the knocks that come meanwhile.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Listener;
use super::commands::closed_by;
use crate::control::Response;
use crate::domain::grant::{Grant, GrantId};
use crate::engine::Revoked;
use crate::firewall::{FirewallError, LiveGrant};
use crate::log::{self, Level};
use crate::store::audit::By;
use spa_keys::Failure;

/// Longest time that closing goes on before others get their turn.
const CLOSING_SLICE: Duration = Duration::from_millis(5);
/// So many are closed at once however long it takes: what a few devices have open ends in one go.
const MIN_CLOSED_PER_SLICE: usize = 16;

/// Queue of what waits to be closed.
#[derive(Default)]
pub(super) struct Closings {
    steps: VecDeque<ClosingStep>,
    /// Numbers of the grants in `steps`: the engine asks every second for what is not closed yet.
    queued: HashSet<GrantId>,
    /// Number of grants that could not be closed since the last answer, and the last error.
    failed: Option<(usize, FirewallError)>,
    /// Packets have had their turn since the last slice.
    due: bool,
}

enum ClosingStep {
    /// An administrator wants it closed.
    Close { grant: Grant, by: u32 },
    /// Nobody may hold it any more.
    Revoke(Revoked),
    /// Everything that the administrator wanted closed is.
    Told { answer: oneshot::Sender<Response>, all: usize, good: Response },
    /// A reload is over, and what it has ended is closed.
    Reloaded { askers: Vec<u64>, answer: Response },
}

impl Closings {
    /// Tells whether the next slice may begin.
    pub(super) fn are_due(&self) -> bool {
        self.due && !self.steps.is_empty()
    }

    /// Tells whether something waits for its turn.
    pub(super) fn are_waiting(&self) -> bool {
        !self.due && !self.steps.is_empty()
    }

    /// Packets have had their turn, or there are none.
    pub(super) fn others_had_their_turn(&mut self) {
        self.due = true;
    }
}

impl Listener {
    /// Closes grants for an administrator and answers when it is done. `live`: as the kernel has
    /// them now.
    pub(super) fn close_all(
        &mut self,
        live: &[LiveGrant],
        chosen: Vec<Grant>,
        by: u32,
        answer: oneshot::Sender<Response>,
        good: Response,
    ) {
        // Their counters go with them.
        self.telemetry.audit.saw(live);
        let all = chosen.len();
        for grant in chosen {
            if self.closings.queued.insert(grant.id) {
                self.closings.steps.push_back(ClosingStep::Close { grant, by });
            }
        }
        self.closings.steps.push_back(ClosingStep::Told { answer, all, good });
        self.close_some();
    }

    /// Closes a grant that nobody may hold any more, in its turn.
    pub(super) fn queue_revoked(&mut self, revoked: Revoked) {
        if !self.closings.queued.insert(revoked.grant) {
            return;
        }
        if self.closings.steps.is_empty() {
            self.telemetry.audit.note_closing(&[revoked.grant], self.backend.firewall.as_mut());
        }
        self.closings.steps.push_back(ClosingStep::Revoke(revoked));
    }

    /// Answers who asked for a reload, when what it has ended is closed.
    pub(super) fn answer_closed(&mut self, askers: Vec<u64>, answer: Response) {
        self.closings.steps.push_back(ClosingStep::Reloaded { askers, answer });
        self.close_some();
    }

    /// Takes the next steps, for the time of a slice.
    pub(super) fn close_some(&mut self) {
        let begun = Instant::now();
        let (mut taken, mut closed) = (0, HashSet::new());
        while let Some(step) = self.closings.steps.pop_front() {
            match step {
                ClosingStep::Close { grant, by } => {
                    if self.close_one(&grant, by) {
                        closed.insert(grant.id);
                    }
                }
                ClosingStep::Revoke(revoked) => self.revoke_one(&revoked),
                ClosingStep::Told { answer, all, good } => {
                    let reply = self.closings.failed.take().map_or(good, |(failed, error)| {
                        Response::from_failure(&Failure::failed(format!(
                            "{failed} of {all} not closed: {error}"
                        )))
                    });
                    let _gone = answer.send(reply);
                }
                ClosingStep::Reloaded { askers, answer } => {
                    self.askers.answer_askers(&askers, &answer)
                }
            }
            taken += 1;
            if taken >= MIN_CLOSED_PER_SLICE && begun.elapsed() >= CLOSING_SLICE {
                break;
            }
        }
        self.engine.forget(&closed);
        self.closings.due = false;
    }

    fn close_one(&mut self, grant: &Grant, by: u32) -> bool {
        self.closings.queued.remove(&grant.id);
        match self.backend.firewall.close(grant.id) {
            Ok(()) => {
                self.telemetry.audit.note_closed(self.clock.now(), grant.id, By::Uid(by));
                self.record_event(&closed_by(grant, by));
                true
            }
            Err(error) => {
                let failed = self.closings.failed.take().map_or(0, |(failed, _)| failed);
                self.closings.failed = Some((failed + 1, error));
                false
            }
        }
    }

    fn revoke_one(&mut self, revoked: &Revoked) {
        self.closings.queued.remove(&revoked.grant);
        let outcome = self.backend.firewall.close(revoked.grant);
        let (level, name) =
            if outcome.is_ok() { (Level::Info, "closed") } else { (Level::Error, "failed") };
        log::event(level, name)
            .with("client", &revoked.client)
            .with("service", &revoked.service)
            .with("grant", revoked.grant)
            .with("reason", revoked.why.word())
            .maybe("error", outcome.as_ref().err())
            .emit();
        if outcome.is_ok() {
            self.engine.confirm_revocation(revoked.grant);
            self.telemetry.audit.note_closed(
                self.clock.now(),
                revoked.grant,
                By::Reload(revoked.why),
            );
        }
    }
}
