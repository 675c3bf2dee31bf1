//! `try`: the configuration on the disk comes into force as by a reload, and goes again by itself
//! unless somebody says that he can still get in.
//!
//! The time runs here, so it outlives the session that asked and the listener. Going back does not
//! need the listener either: the old rules are installed and read back first, then the listener
//! gets the old files.

mod run;

use std::time::{Duration, Instant};

use spa_keys::{Failure, exit};

use super::checkpoint::Checkpoint;
use super::listener_process::ListenerProcess;
use super::reload::FileReloads;
use super::request_handler::RequestHandler;
use crate::ipc::message::{ListenerOrder, Purpose, Refusal, RolledBack};
use crate::log::{self, Level};
use run::{Trial, TrialStage};

/// Shortest and longest trial, seconds. In less nobody logs in anew.
pub const TRIAL_SECONDS: std::ops::RangeInclusive<u64> = 10..=3600;
/// Time after a trial in which only root begins another one.
const TRIAL_PAUSE: Duration = Duration::from_secs(60);
/// Who may wait for the end of one trial.
const MAX_ROLLBACK_WAITERS: usize = 64;

/// The trial that runs, and what became of the last one.
pub(super) struct Trials {
    running: Option<Trial>,
    /// The last rollback: another configuration runs than is on the disk.
    back: Option<RolledBack>,
    /// When the last one ended.
    ended: Option<Instant>,
    /// The mark of a trial that an earlier run did not end.
    interrupted: Option<Checkpoint>,
}

impl Trials {
    /// No trial runs; an earlier run may have left one.
    pub(super) fn new(interrupted: Option<Checkpoint>) -> Self {
        Self { running: None, back: None, ended: None, interrupted }
    }

    /// Tells whether a trial runs.
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Tells whether the listener reads for the trial.
    pub(super) fn is_read(&self) -> bool {
        self.running.as_ref().is_some_and(Trial::is_read)
    }

    /// When the trial wants a turn.
    pub(super) fn due(&self) -> Option<Instant> {
        self.running.as_ref().and_then(Trial::due)
    }

    /// Refuses what would change what is tried.
    pub(super) fn check_no_trial(&self) -> Result<(), Failure> {
        match &self.running {
            None => Ok(()),
            Some(trial) => Err(Failure::failed(format!(
                "a trial is running, for {} s more: first spa-server confirm, or spa-server try \
                 --cancel; then try again",
                trial.left().as_secs()
            ))),
        }
    }

    /// Refuses a trial of anybody but root soon after another one: whoever begins one after the
    /// other would leave no moment for a reload.
    fn check_pause(&self, by: u32) -> Result<(), Failure> {
        let over = self.ended.map_or(TRIAL_PAUSE, |ended| ended.elapsed());
        let left = TRIAL_PAUSE.saturating_sub(over).as_secs();
        if by == 0 || left == 0 {
            return Ok(());
        }
        Err(Failure::failed(format!("the last trial has just ended: try again in {left} s")))
    }

    /// Rolls back what somebody else tries: root wants to reload.
    pub(super) fn yield_to_root(
        &mut self,
        reloads: &mut FileReloads,
        handler: &mut RequestHandler,
        listener: &ListenerProcess,
    ) -> Result<(), Failure> {
        let running = self.running.as_mut().filter(|trial| trial.by != 0);
        let Some(trial) = running.filter(|trial| trial.may_end()) else { return Ok(()) };
        log::event(Level::Warn, "trial-cancelled").with("why", "root reloads").emit();
        let number = trial.roll_back("cancelled", handler);
        self.send_back(number, reloads, listener)
    }

    /// Takes note that a client was removed, for the next start if this one ends in the trial.
    pub(super) fn note_revoked(&self, client: &str) -> Result<(), Failure> {
        match &self.running {
            Some(trial) => trial.aside.note_revoked(client).map_err(|error| {
                Failure::failed(format!(
                    "it is shut out, but the next start would let it in again, if the server ends \
                     in this trial: {error}"
                ))
            }),
            None => Ok(()),
        }
    }

    /// Begins a trial, or says why not.
    pub(super) fn begin_trial(
        &mut self,
        asker: u64,
        by: u32,
        seconds: u64,
        reloads: &mut FileReloads,
        handler: &mut RequestHandler,
        listener: &ListenerProcess,
    ) -> Result<(), Failure> {
        let free = self.check_no_trial().and_then(|()| self.check_pause(by)).and_then(|()| {
            if reloads.is_idle() && listener.is_serving() {
                return Ok(());
            }
            Err(Failure::failed("a start, reload or stop is under way: try again when it is over"))
        });
        match free.and_then(|()| Trial::prepare(by, seconds, reloads, handler)) {
            Ok(trial) => {
                reloads.note_reading(true);
                let trial = self.running.insert(trial);
                let purpose = Purpose::Try { seconds };
                Ok(listener.send_files(&trial.opened, trial.number, vec![asker], purpose)?)
            }
            Err(failure) => listener.send_refusal(&failure, vec![asker]),
        }
    }

    /// Goes back when the time is over.
    pub(super) fn take_turn(
        &mut self,
        reloads: &mut FileReloads,
        handler: &mut RequestHandler,
        listener: &ListenerProcess,
    ) -> Result<(), Failure> {
        match &mut self.running {
            Some(trial) if trial.due().is_some_and(|due| due <= Instant::now()) => {
                let again = matches!(trial.stage, TrialStage::Again { .. });
                let number = trial.roll_back(if again { "again" } else { "time-over" }, handler);
                self.send_back(number, reloads, listener)
            }
            _ => Ok(()),
        }
    }

    /// Has the listener go back to the old files.
    fn send_back(
        &self,
        number: u64,
        reloads: &mut FileReloads,
        listener: &ListenerProcess,
    ) -> Result<(), Failure> {
        reloads.note_reading(true);
        self.send_state(listener)?;
        Ok(reloads.send_running(listener, number, Purpose::Back)?)
    }

    /// Takes note that the listener has read something; true when it was about the trial. `done`:
    /// it took it.
    pub(super) fn note_read(
        &mut self,
        number: u64,
        done: bool,
        handler: &mut RequestHandler,
        listener: &ListenerProcess,
    ) -> Result<bool, Failure> {
        let Some(mut trial) = self.running.take() else { return Ok(false) };
        match trial.stage {
            TrialStage::Begins if number == trial.number => {
                if done && handler.versions.current.number == number {
                    trial.begin_running();
                    self.back = None;
                    self.running = Some(trial);
                } else {
                    clear_checkpoint(&trial.aside);
                }
                self.send_state(listener)?;
            }
            TrialStage::Back { number: wanted } if number == wanted => {
                let difference = match handler.find_difference() {
                    _ if !done => {
                        Some("the listener did not take the old configuration".to_owned())
                    }
                    found => found,
                };
                self.finish_rollback(trial, difference, listener)?;
            }
            // Read too late: it is going back already, and the number is not one that may be
            // installed any more.
            _ => self.running = Some(trial),
        }
        Ok(true)
    }

    /// Ends a trial whose rollback both processes have done, or has it done again.
    fn finish_rollback(
        &mut self,
        mut trial: Trial,
        difference: Option<String>,
        listener: &ListenerProcess,
    ) -> Result<(), Failure> {
        let waiting = std::mem::take(&mut trial.waiting);
        self.ended = Some(Instant::now());
        if difference.is_none() {
            clear_checkpoint(&trial.aside);
        } else {
            trial.try_again();
            self.running = Some(trial);
        }
        let remedy = "mend the configuration on the disk: the next reload or restart takes it";
        self.report_rollback(false, difference.as_ref(), ("do", remedy), listener)?;
        let refusal = difference.map(|found| {
            let text = format!(
                "rolled back, but reading it back says: {found}; it is tried again every second"
            );
            Refusal { code: exit::FAILURE, text }
        });
        waiting.into_iter().try_for_each(|asker| {
            listener.send_order(&ListenerOrder::Told { asker, refusal: refusal.clone() })
        })
    }

    /// Reports how a rollback went: to the listener first, so that whoever reads the log can ask
    /// it.
    fn report_rollback(
        &mut self,
        restart: bool,
        difference: Option<&String>,
        more: (&'static str, &str),
        listener: &ListenerProcess,
    ) -> Result<(), Failure> {
        let verified = difference.is_none();
        let at_ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0);
        self.back = Some(RolledBack { at_ms, verified, restart });
        self.send_state(listener)?;
        log::event(if verified { Level::Warn } else { Level::Error }, "rolled-back")
            .with("verified", if verified { "yes" } else { "no" })
            .maybe("error", difference)
            .with(more.0, more.1)
            .emit();
        Ok(())
    }

    /// Makes what is tried stay: somebody can still get in.
    pub(super) fn confirm_trial(
        &mut self,
        asker: u64,
        by: u32,
        reloads: &mut FileReloads,
        handler: &mut RequestHandler,
        listener: &ListenerProcess,
    ) -> Result<(), Failure> {
        let refusal = match self.running.take() {
            None => Some(self.explain_none().to_owned()),
            Some(trial) if trial.is_in_force() && !trial.left().is_zero() => {
                match trial.aside.remove_files() {
                    Ok(()) => {
                        log::event(Level::Info, "confirmed").number("by", by).emit();
                        reloads.set_running(trial.opened, handler);
                        self.ended = Some(Instant::now());
                        self.send_state(listener)?;
                        None
                    }
                    Err(error) => {
                        self.running = Some(trial);
                        Some(format!(
                            "not confirmed: the next start would go back, because the mark of the \
                             trial cannot be removed: {error}"
                        ))
                    }
                }
            }
            Some(trial) => {
                let text = if trial.stage == TrialStage::Begins {
                    "too early: it is not in force yet; try again"
                } else {
                    "too late: the time is over, and the trial is being rolled back"
                };
                self.running = Some(trial);
                Some(text.to_owned())
            }
        };
        let refusal = refusal.map(|text| Refusal { code: exit::FAILURE, text });
        listener.send_order(&ListenerOrder::Told { asker, refusal })
    }

    /// Rolls back now: somebody does not want to wait for the end.
    pub(super) fn cancel_trial(
        &mut self,
        asker: u64,
        by: u32,
        reloads: &mut FileReloads,
        handler: &mut RequestHandler,
        listener: &ListenerProcess,
    ) -> Result<(), Failure> {
        let none = self.explain_none();
        let refuse = |text: &str| {
            let refusal = Some(Refusal { code: exit::FAILURE, text: text.to_owned() });
            listener.send_order(&ListenerOrder::Told { asker, refusal })
        };
        match &mut self.running {
            None => refuse(none),
            Some(trial) if trial.waiting.len() >= MAX_ROLLBACK_WAITERS => {
                refuse("too many sessions wait for the rollback")
            }
            Some(trial) => {
                trial.waiting.push(asker);
                log::event(Level::Info, "trial-cancelled").number("by", by).emit();
                if !trial.may_end() {
                    return Ok(());
                }
                let number = trial.roll_back("cancelled", handler);
                self.send_back(number, reloads, listener)
            }
        }
    }

    /// Ends a trial that an earlier run did not end: the start with what was before is over. Only
    /// now the mark may go: a start that fails must not bring the other configuration at the next
    /// one.
    pub(super) fn finish_interrupted(
        &mut self,
        handler: &mut RequestHandler,
        listener: &ListenerProcess,
    ) -> Result<(), Failure> {
        let Some(aside) = self.interrupted.take() else { return Ok(()) };
        let found = handler.find_difference();
        clear_checkpoint(&aside);
        let why = "the server ended in the middle of a trial";
        self.report_rollback(true, found.as_ref(), ("why", why), listener)
    }

    /// Takes note that what is on the disk runs.
    pub(super) fn forget_rollback(&mut self, listener: &ListenerProcess) -> Result<(), Failure> {
        if self.back.take().is_some() { self.send_state(listener) } else { Ok(()) }
    }

    /// Undoes the trial because the server ends.
    pub(super) fn end_trial(&mut self, handler: &mut RequestHandler) {
        if let Some(trial) = self.running.take() {
            trial.end_unconfirmed(handler);
        }
    }

    fn explain_none(&self) -> &'static str {
        match self.back {
            Some(_) => "no trial is running: it was rolled back, see spa-server status",
            None => "no trial is running",
        }
    }

    /// Tells the listener how the trial stands, for whoever asks it.
    fn send_state(&self, listener: &ListenerProcess) -> Result<(), Failure> {
        let running = self.running.as_ref().map(Trial::state);
        listener.send_order(&ListenerOrder::Trial { running, back: self.back.clone() })
    }
}

/// Takes the mark away. One that stays only makes the next start take what runs now.
fn clear_checkpoint(aside: &Checkpoint) {
    if let Err(error) = aside.remove_files() {
        log::event(Level::Error, "trial-mark")
            .with("error", error)
            .with(
                "do",
                "remove it, or the next start takes the configuration of before the trial \
                once more",
            )
            .emit();
    }
}
