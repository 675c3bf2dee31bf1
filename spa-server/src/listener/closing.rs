//! Grants are closed a few at a time: thousands at once, by an administrator or by a reload, must
//! not hold up the knocks that come meanwhile.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use spa_keys::Failure;

use super::Clock;
use super::broker_link::{Asker, answer_all};
use super::record::{EventRecord, admin_event};
use crate::control::Response;
use crate::domain::grant::{Grant, GrantId};
use crate::engine::{Engine, EventKind, Revoked};
use crate::firewall::{Firewall as _, FirewallError};
use crate::ipc::client::BrokerClient;
use crate::log::{self, Level};
use crate::store::audit::EndedBy;

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
    Told { answer: Asker, all: usize, good: Response },
    /// A reload is over, and what it has ended is closed.
    Reloaded { askers: Vec<Asker>, answer: Response },
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

    /// Queues grants that an administrator wants closed, and the answer.
    pub(super) fn queue_chosen(
        &mut self,
        chosen: Vec<Grant>,
        by: u32,
        answer: Asker,
        good: Response,
    ) {
        let all = chosen.len();
        for grant in chosen {
            if self.queued.insert(grant.id) {
                self.steps.push_back(ClosingStep::Close { grant, by });
            }
        }
        self.steps.push_back(ClosingStep::Told { answer, all, good });
    }

    /// Queues a grant that nobody may hold any more.
    pub(super) fn queue_revoked(&mut self, revoked: Revoked) {
        if self.queued.insert(revoked.grant) {
            self.steps.push_back(ClosingStep::Revoke(revoked));
        }
    }

    /// Queues the answer to who asked for a reload, behind what it has ended.
    pub(super) fn queue_answer(&mut self, askers: Vec<Asker>, answer: Response) {
        self.steps.push_back(ClosingStep::Reloaded { askers, answer });
    }

    /// Takes the next steps, for the time of a slice.
    pub(super) fn close_slice(
        &mut self,
        clock: Clock,
        engine: &mut Engine,
        firewall: &mut BrokerClient,
        record: &mut EventRecord,
    ) {
        let begun = Instant::now();
        let (mut taken, mut closed) = (0, HashSet::new());
        while let Some(step) = self.steps.pop_front() {
            match step {
                ClosingStep::Close { grant, by } => {
                    self.queued.remove(&grant.id);
                    match firewall.close(grant.id) {
                        Ok(used) => {
                            let by_uid = EndedBy::Uid(by);
                            record.audit.note_closed(clock.now(), grant.id, by_uid, used);
                            record.record_event(
                                clock.now(),
                                &admin_event(EventKind::Closed, &grant, by),
                            );
                            closed.insert(grant.id);
                        }
                        Err(error) => {
                            let failed = self.failed.take().map_or(0, |(failed, _)| failed);
                            self.failed = Some((failed + 1, error));
                        }
                    }
                }
                ClosingStep::Revoke(revoked) => {
                    self.queued.remove(&revoked.grant);
                    let outcome = firewall.close(revoked.grant);
                    log_revocation(&revoked, outcome.as_ref().err());
                    if let Ok(used) = outcome {
                        engine.confirm_revocation(revoked.grant);
                        let by = EndedBy::Reload(revoked.why);
                        record.audit.note_closed(clock.now(), revoked.grant, by, used);
                    }
                }
                ClosingStep::Told { answer, all, good } => {
                    let reply = self.failed.take().map_or(good, |(failed, error)| {
                        Response::from_failure(&Failure::failed(format!(
                            "{failed} of {all} not closed: {error}"
                        )))
                    });
                    let _gone = answer.send(reply);
                }
                ClosingStep::Reloaded { askers, answer } => answer_all(askers, &answer),
            }
            taken += 1;
            if taken >= MIN_CLOSED_PER_SLICE && begun.elapsed() >= CLOSING_SLICE {
                break;
            }
        }
        engine.forget(&closed);
        self.due = false;
    }
}

fn log_revocation(revoked: &Revoked, error: Option<&FirewallError>) {
    let (level, name) =
        if error.is_none() { (Level::Info, "closed") } else { (Level::Error, "failed") };
    log::event(level, name)
        .with("client", &revoked.client)
        .with("service", &revoked.service)
        .with("grant", revoked.grant)
        .with("reason", revoked.why.word())
        .maybe("error", error)
        .emit();
}
