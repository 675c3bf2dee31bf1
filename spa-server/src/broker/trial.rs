//! `try`: the configuration on the disk comes into force as by a reload, and goes again by itself
//! unless somebody says that he can still get in.
//!
//! The time runs here, so it outlives the session that asked and the listener. Going back does not
//! need the listener either: the old rules are installed and read back first, then the listener
//! gets the old files.

use std::time::{Duration, Instant};

use spa_keys::{Failure, exit};

use super::Broker;
use super::checkpoint::Checkpoint;
use super::files::ConfigFiles;
use crate::config::Config;
use crate::domain::ports::PortRange;
use crate::ipc::message::{ListenerOrder, Purpose, Refusal, RolledBack, RunningTrial};
use crate::log::{self, Level};

/// Shortest and longest trial, seconds. In less nobody logs in anew.
pub const TRIAL_SECONDS: std::ops::RangeInclusive<u64> = 10..=3600;
/// Delay until a rollback that did not succeed is tried again.
const ROLLBACK_RETRY_DELAY: Duration = Duration::from_secs(1);
/// Attempts when there is no later: the server ends.
const LAST_ATTEMPTS: usize = 5;
/// Who may wait for the end of one trial.
const MAX_ROLLBACK_WAITERS: usize = 64;

/// A trial, from the question to its end.
pub(super) struct Trial {
    /// The files on trial, until they are confirmed.
    opened: ConfigFiles,
    /// Number of the configuration on trial.
    number: u64,
    /// Configuration and knock ports that were in force before.
    before: (Config, Vec<PortRange>),
    aside: Checkpoint,
    /// User id of who asked.
    by: u32,
    ends: Instant,
    stage: Stage,
    /// Who waits for the rollback at the control socket.
    waiting: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The listener reads.
    Begins,
    /// In force.
    Runs,
    /// The listener reads what was before, under this number.
    Back { number: u64 },
    /// It did not succeed; again then.
    Again { at: Instant },
}

impl Broker {
    /// Begins a trial, or says why not.
    pub(super) fn begin_trial(&mut self, asker: u64, by: u32, seconds: u64) -> Result<(), Failure> {
        match self.prepare_trial(by, seconds) {
            Ok(trial) => {
                self.reloading = true;
                let sent = trial.opened.send_to_listener(
                    &self.ends.news,
                    trial.number,
                    vec![asker],
                    Purpose::Try { seconds },
                );
                self.trial = Some(trial);
                Ok(sent?)
            }
            Err(failure) => self.refuse_reload(&failure, vec![asker]),
        }
    }

    fn prepare_trial(&mut self, by: u32, seconds: u64) -> Result<Trial, Failure> {
        if !TRIAL_SECONDS.contains(&seconds) {
            return Err(Failure::new(
                exit::USAGE,
                format!("a trial lasts {} s to {} s", TRIAL_SECONDS.start(), TRIAL_SECONDS.end()),
            ));
        }
        self.check_no_trial()?;
        if self.reloading || self.wanted.is_some() || !self.ready || self.stopping {
            return Err(Failure::failed(
                "a start, reload or stop is under way: try again when it is over",
            ));
        }
        let opened = ConfigFiles::open_named(&self.path)?;
        let (old, new) = (&self.handler.config().server, &opened.config.server);
        for (name, differs) in
            [("state", old.state != new.state), ("control", old.control != new.control)]
        {
            if differs {
                return Err(Failure::failed(format!(
                    "[server] {name} is another one; that takes effect at a restart and cannot be \
                     tried: put it back, or restart"
                )));
            }
        }
        let aside = Checkpoint::beside_state(&old.state);
        // What cannot be read back now could not be after the rollback.
        if self.handler.find_difference().is_some() {
            self.handler.restore_table()?;
            if let Some(found) = self.handler.find_difference() {
                return Err(Failure::failed(format!(
                    "the firewall in the kernel is not what the running configuration makes \
                     ({found}), so a rollback could not be verified: spa-server reload, and look \
                     who else changes table inet spa"
                )));
            }
        }
        aside.save_config(&self.running).map_err(|error| {
            Failure::failed(format!(
                "the running configuration cannot be set aside for the next start: {error}"
            ))
        })?;
        let before = (self.handler.config().clone(), self.handler.knock_ports().to_vec());
        let number = self.handler.propose_config(opened.config.clone());
        Ok(Trial {
            opened,
            number,
            before,
            aside,
            by,
            ends: Instant::now() + Duration::from_secs(seconds),
            stage: Stage::Begins,
            waiting: Vec::new(),
        })
    }

    /// Refuses what would change what is tried.
    pub(super) fn check_no_trial(&self) -> Result<(), Failure> {
        match &self.trial {
            None => Ok(()),
            Some(trial) => Err(Failure::failed(format!(
                "a trial runs, for {} s more: first spa-server confirm, or spa-server try \
                 --cancel; then again",
                trial.ends.saturating_duration_since(Instant::now()).as_secs()
            ))),
        }
    }

    /// When the trial wants a turn.
    pub(super) fn trial_due(&self) -> Option<Instant> {
        self.trial.as_ref().and_then(|trial| match trial.stage {
            Stage::Begins | Stage::Runs => Some(trial.ends),
            Stage::Back { .. } => None,
            Stage::Again { at } => Some(at),
        })
    }

    /// Goes back when the time is over.
    pub(super) fn trial_turn(&mut self) -> Result<(), Failure> {
        if self.trial_due().is_some_and(|due| due <= Instant::now()) {
            let again =
                self.trial.as_ref().is_some_and(|trial| matches!(trial.stage, Stage::Again { .. }));
            self.roll_back(if again { "again" } else { "time-over" })?;
        }
        Ok(())
    }

    /// The listener has read something; true when it was about the trial. `done`: it took it.
    pub(super) fn trial_read(&mut self, number: u64, done: bool) -> Result<bool, Failure> {
        let Some(trial) = &mut self.trial else { return Ok(false) };
        match trial.stage {
            Stage::Begins if number == trial.number => {
                if done && self.handler.config_number() == number {
                    trial.stage = Stage::Runs;
                    let left = trial.ends.saturating_duration_since(Instant::now());
                    log::event(Level::Warn, "trial")
                        .number("by", trial.by)
                        .number("left-s", left.as_secs())
                        .with("do", "spa-server confirm, in a new session")
                        .emit();
                    self.back = None;
                    self.tell_trial()?;
                } else {
                    let aside = trial.aside.clone();
                    self.trial = None;
                    clear_checkpoint(&aside);
                    self.tell_trial()?;
                }
            }
            Stage::Back { number: wanted } if number == wanted => {
                let outcome = match self.handler.find_difference() {
                    _ if !done => Err("the listener did not take the old configuration".to_owned()),
                    Some(found) => Err(found),
                    None => Ok(()),
                };
                self.finish_rollback(outcome)?;
            }
            // Read too late: it is going back already, and the number is not one that may be
            // installed any more.
            _ => {}
        }
        Ok(true)
    }

    /// Puts the old rules back, and has the listener read the old files.
    fn roll_back(&mut self, why: &str) -> Result<(), Failure> {
        let Some(trial) = &mut self.trial else { return Ok(()) };
        let (config, knock) = trial.before.clone();
        let (number, outcome) = self.handler.restore_config(config, knock);
        trial.stage = Stage::Back { number };
        log::event(Level::Warn, "rolling-back")
            .with("why", why)
            .with("firewall", if outcome.is_ok() { "back" } else { "not-back" })
            .maybe("error", outcome.err().as_ref())
            .emit();
        self.reloading = true;
        self.tell_trial()?;
        Ok(self.running.send_to_listener(&self.ends.news, number, Vec::new(), Purpose::Back)?)
    }

    /// Both processes are back, or not.
    fn finish_rollback(&mut self, outcome: Result<(), String>) -> Result<(), Failure> {
        let Some(trial) = &mut self.trial else { return Ok(()) };
        let verified = outcome.is_ok();
        let level = if verified { Level::Warn } else { Level::Error };
        log::event(level, "rolled-back")
            .with("verified", if verified { "yes" } else { "no" })
            .maybe("error", outcome.as_ref().err())
            .with("do", "mend the configuration on the disk: the next reload or restart takes it")
            .emit();
        self.back = Some(RolledBack { at_ms: now_ms(), verified, restart: false });
        let (waiting, aside) = (std::mem::take(&mut trial.waiting), trial.aside.clone());
        if verified {
            self.trial = None;
            clear_checkpoint(&aside);
        } else {
            trial.stage = Stage::Again { at: Instant::now() + ROLLBACK_RETRY_DELAY };
        }
        self.tell_trial()?;
        let refusal = outcome.err().map(|found| Refusal {
            code: exit::FAILURE,
            text: format!(
                "rolled back, but reading it back says: {found}; it is tried again every second"
            ),
        });
        waiting.into_iter().try_for_each(|asker| {
            self.send_order(&ListenerOrder::Told { asker, refusal: refusal.clone() })
        })
    }

    /// Somebody can still get in: what is tried stays.
    pub(super) fn confirm_trial(&mut self, asker: u64, by: u32) -> Result<(), Failure> {
        let refusal = match self.trial.take() {
            None => Some(self.none_runs()),
            Some(trial) if trial.stage == Stage::Runs && trial.ends > Instant::now() => {
                match trial.aside.remove_files() {
                    Ok(()) => {
                        log::event(Level::Info, "confirmed").number("by", by).emit();
                        self.handler.set_servers(&trial.opened.servers);
                        self.running = trial.opened;
                        self.tell_trial()?;
                        None
                    }
                    Err(error) => {
                        self.trial = Some(trial);
                        Some(format!(
                            "not confirmed: the next start would go back, because the mark of the \
                             trial cannot be removed: {error}"
                        ))
                    }
                }
            }
            Some(trial) if trial.stage == Stage::Begins => {
                self.trial = Some(trial);
                Some("too early: it is not in force yet; try again".to_owned())
            }
            Some(trial) => {
                self.trial = Some(trial);
                Some("too late: the time is over, and it is rolled back".to_owned())
            }
        };
        let refusal = refusal.map(|text| Refusal { code: exit::FAILURE, text });
        self.send_order(&ListenerOrder::Told { asker, refusal })
    }

    /// Somebody does not want to wait for the end.
    pub(super) fn cancel_trial(&mut self, asker: u64, by: u32) -> Result<(), Failure> {
        let none = self.none_runs();
        let refused = |text| {
            let refusal = Some(Refusal { code: exit::FAILURE, text });
            ListenerOrder::Told { asker, refusal }
        };
        match &mut self.trial {
            None => self.send_order(&refused(none)),
            Some(trial) if trial.waiting.len() >= MAX_ROLLBACK_WAITERS => {
                self.send_order(&refused("too many wait for the rollback".to_owned()))
            }
            Some(trial) => {
                trial.waiting.push(asker);
                log::event(Level::Info, "trial-cancelled").number("by", by).emit();
                match trial.stage {
                    Stage::Begins | Stage::Runs => self.roll_back("cancelled"),
                    Stage::Back { .. } | Stage::Again { .. } => Ok(()),
                }
            }
        }
    }

    /// Tells whether the listener reads for the trial.
    pub(super) fn trial_reads(&self) -> bool {
        self.trial
            .as_ref()
            .is_some_and(|trial| matches!(trial.stage, Stage::Begins | Stage::Back { .. }))
    }

    /// The start is over, perhaps with what was before a trial that an earlier run did not end.
    /// Only now the mark may go: a start that fails must not bring the other configuration at
    /// the next one.
    pub(super) fn finish_interrupted_trial(&mut self) -> Result<(), Failure> {
        let Some(aside) = self.aside.take() else { return Ok(()) };
        let found = self.handler.find_difference();
        let verified = found.is_none();
        log::event(if verified { Level::Warn } else { Level::Error }, "rolled-back")
            .with("verified", if verified { "yes" } else { "no" })
            .maybe("error", found)
            .with("why", "the server ended in the middle of a trial")
            .emit();
        self.back = Some(RolledBack { at_ms: now_ms(), verified, restart: true });
        clear_checkpoint(&aside);
        self.tell_trial()
    }

    fn none_runs(&self) -> String {
        match self.back {
            Some(_) => "no trial runs: it was rolled back, see spa-server status".to_owned(),
            None => "no trial runs".to_owned(),
        }
    }

    /// The server ends in the middle of a trial: nobody has confirmed, so nothing of it stays. The
    /// mark does, so that the next start takes what ran before.
    pub(super) fn end_trial(&mut self) {
        let Some(trial) = self.trial.take() else { return };
        let (config, knock) = trial.before;
        let mut found = None;
        for _ in 0..LAST_ATTEMPTS {
            let (_, outcome) = self.handler.restore_config(config.clone(), knock.clone());
            found = outcome.err();
            if found.is_none() {
                break;
            }
        }
        log::event(if found.is_none() { Level::Warn } else { Level::Error }, "rolled-back")
            .with("verified", if found.is_none() { "yes" } else { "no" })
            .maybe("error", found.as_ref())
            .with("why", "the server ends")
            .with("next", "the next start takes the configuration of before the trial")
            .emit();
    }

    /// Tells the listener how the trial stands, for whoever asks it.
    pub(super) fn tell_trial(&self) -> Result<(), Failure> {
        let running = self.trial.as_ref().map(|trial| RunningTrial {
            number: trial.number,
            left: trial.ends.saturating_duration_since(Instant::now()),
            by: trial.by,
            confirmable: trial.stage == Stage::Runs,
        });
        self.send_order(&ListenerOrder::Trial { running, back: self.back.clone() })
    }
}

fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}

/// Takes the mark away. One that stays only makes the next start take what runs now.
pub(super) fn clear_checkpoint(aside: &Checkpoint) {
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
