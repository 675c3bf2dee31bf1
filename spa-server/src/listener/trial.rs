//! The listener's knowledge of a trial: the broker has its clock and its end.

use tokio::sync::oneshot;

use super::Listener;
use crate::control::Response;
use crate::control::rows::Done;
use crate::control::status::{RollbackState, TrialStatus};
use crate::ipc::message::{Notice, Refusal, RolledBack, RunningTrial};
use spa_keys::Failure;

/// State of trials, as the broker told it last.
#[derive(Debug, Default)]
pub(super) struct TrialState {
    running: Option<(RunningTrial, tokio::time::Instant)>,
    back: Option<RolledBack>,
    /// The ssh connection in which it was asked for.
    session: Option<String>,
    /// Who asked for it, and the answer: given when the broker says that it can be confirmed.
    begun: Option<(Vec<u64>, Response)>,
}

impl TrialState {
    /// Read and in force here. Whoever is told so may confirm in the same moment, so the broker
    /// must know it first.
    pub(super) fn note_begun(&mut self, askers: Vec<u64>, answer: Response) {
        self.begun = Some((askers, answer));
    }
}

impl Listener {
    /// Somebody wants what is on the disk tried.
    pub(super) fn ask_trial(
        &mut self,
        seconds: u64,
        session: Option<String>,
        by: u32,
        asker: oneshot::Sender<Response>,
    ) {
        // One that runs already is not begun anew.
        if self.trial.running.is_none() {
            self.trial.session = session;
        }
        let asker = self.askers.add_asker(asker);
        self.send_notice(&Notice::Try { asker, by, seconds });
    }

    /// Established connections stay whatever is tried: a word from the one that asked for it proves
    /// nothing.
    ///
    /// # Errors
    /// It is that one.
    pub(super) fn same_session(&self, session: Option<&str>) -> Result<(), Failure> {
        match (&self.trial.running, &self.trial.session) {
            (Some(_), Some(first)) if session == Some(first) => Err(Failure::failed(
                "not confirmed: this is the ssh session in which it was tried, and that one stays \
                 whatever the rules say. Log in anew, with ssh -S none, and confirm there; if you \
                 are sure: spa-server confirm --same-session",
            )),
            _ => Ok(()),
        }
    }

    /// Somebody confirms it.
    pub(super) fn ask_confirm(&mut self, by: u32, asker: oneshot::Sender<Response>) {
        let asker = self.askers.add_asker(asker);
        self.send_notice(&Notice::Confirm { asker, by });
    }

    /// Somebody wants it rolled back now.
    pub(super) fn ask_cancel(&mut self, by: u32, asker: oneshot::Sender<Response>) {
        let asker = self.askers.add_asker(asker);
        self.send_notice(&Notice::Cancel { asker, by });
    }

    /// The broker's word about it.
    pub(super) fn trial_now(&mut self, running: Option<RunningTrial>, back: Option<RolledBack>) {
        let confirmable = running.as_ref().map(|trial| trial.confirmable);
        self.trial.running = running.map(|trial| (trial, tokio::time::Instant::now()));
        self.trial.back = back;
        if confirmable == Some(false) {
            return;
        }
        let Some((askers, good)) = self.trial.begun.take() else { return };
        let over = || {
            Response::from_failure(&Failure::failed(
                "its time was over before it was in force: rolled back",
            ))
        };
        self.askers.answer_askers(&askers, &if confirmable.is_some() { good } else { over() });
    }

    /// The broker's answer to who confirmed or cancelled.
    pub(super) fn answer_told(&mut self, asker: u64, refusal: Option<Refusal>) {
        let answer = match refusal {
            None => Response::from_body(&Done {}),
            Some(refusal) => Response::from_failure(&refusal.into()),
        };
        self.askers.answer_askers(&[asker], &answer);
    }

    /// The running trial, for `status`.
    pub(super) fn trial_state(&self) -> Option<TrialStatus> {
        let (trial, since) = self.trial.running.as_ref()?;
        Some(TrialStatus {
            number: trial.number,
            by: trial.by,
            left_s: whole_seconds(trial.left.saturating_sub(since.elapsed())),
            rolls_back: !trial.confirmable,
        })
    }

    /// The rollback after which something else runs than is on the disk, for `status`.
    pub(super) fn rollback_state(&self) -> Option<RollbackState> {
        let back = self.trial.back.as_ref()?;
        let why = if back.restart { "restart" } else { "not-confirmed" };
        Some(RollbackState { ms: back.at_ms, verified: back.verified, why: why.to_owned() })
    }
}

/// Rounded up: what is there for a moment yet is not over.
fn whole_seconds(time: std::time::Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
