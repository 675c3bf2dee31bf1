//! The listener's knowledge of a trial: the broker has its clock and its end.

use crate::control::Response;
use crate::control::status::{RollbackState, TrialStatus};
use crate::ipc::message::{RolledBack, RunningTrial};
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
    /// Takes note that a trial is read and in force here. Whoever is told so may confirm in the
    /// same moment, so the broker must know it first.
    pub(super) fn note_begun(&mut self, askers: Vec<u64>, answer: Response) {
        self.begun = Some((askers, answer));
    }

    /// Takes note of the ssh connection in which somebody asks for a trial.
    pub(super) fn note_session(&mut self, session: Option<String>) {
        // One that runs already is not begun anew.
        if self.running.is_none() {
            self.session = session;
        }
    }

    /// Refuses a word from the connection that asked for the trial: established connections stay
    /// whatever is tried, so it proves nothing.
    pub(super) fn check_session(&self, session: Option<&str>) -> Result<(), Failure> {
        match (&self.running, &self.session) {
            (Some(_), Some(first)) if session == Some(first) => Err(Failure::failed(
                "not confirmed: the trial began in this ssh session, and an established session \
                 stays whatever the rules say. Log in again, with ssh -S none, and confirm there; \
                 if you are sure: spa-server confirm --same-session",
            )),
            _ => Ok(()),
        }
    }

    /// Takes the broker's word about the trial. Returns whom to answer with what.
    pub(super) fn note_state(
        &mut self,
        running: Option<RunningTrial>,
        back: Option<RolledBack>,
    ) -> Option<(Vec<u64>, Response)> {
        let confirmable = running.as_ref().map(|trial| trial.confirmable);
        self.running = running.map(|trial| (trial, tokio::time::Instant::now()));
        self.back = back;
        match confirmable {
            Some(false) => None,
            Some(true) => self.begun.take(),
            None => self.begun.take().map(|(askers, _)| {
                let text = "its time was over before it was in force: rolled back";
                (askers, Response::from_failure(&Failure::failed(text)))
            }),
        }
    }

    /// The running trial, for `status`.
    pub(super) fn trial_status(&self) -> Option<TrialStatus> {
        let (trial, since) = self.running.as_ref()?;
        Some(TrialStatus {
            number: trial.number,
            by: trial.by,
            left_s: whole_seconds(trial.left.saturating_sub(since.elapsed())),
            rolls_back: !trial.confirmable,
        })
    }

    /// The rollback after which something else runs than is on the disk, for `status`.
    pub(super) fn rollback_status(&self) -> Option<RollbackState> {
        let back = self.back.as_ref()?;
        let why = if back.restart { "restart" } else { "not-confirmed" };
        Some(RollbackState { ms: back.at_ms, verified: back.verified, why: why.to_owned() })
    }
}

/// Rounded up: what is there for a moment yet is not over.
fn whole_seconds(time: std::time::Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
