//! One trial, from the question to its end.

use std::time::{Duration, Instant};

use spa_keys::{Failure, exit};

use super::TRIAL_SECONDS;
use crate::broker::authorize::Authorization;
use crate::broker::checkpoint::Checkpoint;
use crate::broker::client_terms::ClientTerms;
use crate::broker::files::ConfigFiles;
use crate::broker::reload::FileReloads;
use crate::broker::request_handler::RequestHandler;
use crate::config::Config;
use crate::domain::ports::PortRange;
use crate::ipc::message::RunningTrial;
use crate::log::{self, Level};

/// Delay until a rollback that did not succeed is tried again.
const ROLLBACK_RETRY_DELAY: Duration = Duration::from_secs(1);
/// Attempts when there is no later: the server ends.
const LAST_ATTEMPTS: usize = 5;

/// A trial that has not ended.
pub(super) struct Trial {
    /// Number of the configuration on trial.
    pub(super) number: u64,
    /// The files on trial, until they are confirmed.
    pub(super) opened: ConfigFiles,
    /// Configuration of before, on the disk.
    pub(super) aside: Checkpoint,
    /// Progress.
    pub(super) stage: TrialStage,
    /// Who waits for the rollback at the control socket.
    pub(super) waiting: Vec<u64>,
    /// Configuration, clients and knock ports that were in force before.
    before: (Config, ClientTerms, Vec<PortRange>),
    /// User id of who asked.
    pub(super) by: u32,
    ends: Instant,
}

/// Progress of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TrialStage {
    /// The listener reads.
    Begins,
    /// In force.
    Runs,
    /// The listener reads what was before, under this number.
    Back { number: u64 },
    /// It did not succeed; again then.
    Again { at: Instant },
}

impl Trial {
    /// Sets aside what runs, opens the files on the disk and proposes them.
    pub(super) fn prepare(
        by: u32,
        seconds: u64,
        reloads: &FileReloads,
        handler: &mut RequestHandler,
    ) -> Result<Self, Failure> {
        if !TRIAL_SECONDS.contains(&seconds) {
            return Err(Failure::new(
                exit::USAGE,
                format!("a trial lasts {} s to {} s", TRIAL_SECONDS.start(), TRIAL_SECONDS.end()),
            ));
        }
        let opened = ConfigFiles::open_named(reloads.path())?;
        handler.enforcers.check_unchanged(&opened.config)?;
        let (old, new) = (&handler.config().server, &opened.config.server);
        for (name, differs) in
            [("state", old.state != new.state), ("control", old.control != new.control)]
        {
            if differs {
                return Err(Failure::failed(format!(
                    "[server] {name} has changed; that takes effect at a restart and cannot be \
                     tried: put it back, or restart"
                )));
            }
        }
        let aside = Checkpoint::beside_state(&old.state);
        // What cannot be read back now could not be after the rollback.
        if handler.find_difference().is_some() {
            handler.firewall.restore()?;
            if let Some(found) = handler.find_difference() {
                return Err(Failure::failed(format!(
                    "the firewall in the kernel is not what the running configuration makes \
                     ({found}), so a rollback could not be verified: spa-server reload, and find \
                     out who else changes table inet spa"
                )));
            }
        }
        aside.save_config(reloads.running(), handler.versions.list_revoked()).map_err(|error| {
            Failure::failed(format!(
                "the running configuration cannot be set aside for the next start: {error}"
            ))
        })?;
        let Authorization { config, clients, .. } = handler.versions.current.clone();
        let before = (config, clients, handler.knock.clone());
        Ok(Self {
            number: handler.versions.propose_config(opened.config.clone(), opened.terms.clone()),
            opened,
            aside,
            stage: TrialStage::Begins,
            waiting: Vec::new(),
            before,
            by,
            ends: Instant::now() + Duration::from_secs(seconds),
        })
    }

    /// Time until it is rolled back.
    pub(super) fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// Tells whether it can be confirmed.
    pub(super) fn is_in_force(&self) -> bool {
        self.stage == TrialStage::Runs
    }

    /// Tells whether it can be rolled back: it is not going back yet.
    pub(super) fn may_end(&self) -> bool {
        matches!(self.stage, TrialStage::Begins | TrialStage::Runs)
    }

    /// Tells whether the listener reads for it.
    pub(super) fn is_read(&self) -> bool {
        matches!(self.stage, TrialStage::Begins | TrialStage::Back { .. })
    }

    /// When it wants a turn.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.stage {
            TrialStage::Begins | TrialStage::Runs => Some(self.ends),
            TrialStage::Back { .. } => None,
            TrialStage::Again { at } => Some(at),
        }
    }

    /// State of it, for the listener.
    pub(super) fn state(&self) -> RunningTrial {
        RunningTrial {
            number: self.number,
            left: self.left(),
            by: self.by,
            confirmable: self.is_in_force(),
        }
    }

    /// Takes note that it is in force.
    pub(super) fn begin_running(&mut self) {
        self.stage = TrialStage::Runs;
        log::event(Level::Warn, "trial")
            .number("by", self.by)
            .number("left-s", self.left().as_secs())
            .with("do", "spa-server confirm, in a new session")
            .emit();
    }

    /// Puts the old rules back. Returns the number under which the listener is to read the old
    /// files.
    pub(super) fn roll_back(&mut self, why: &str, handler: &mut RequestHandler) -> u64 {
        let (config, clients, knock) = self.before.clone();
        let (number, difference) = handler.restore_config(config, clients, knock);
        self.stage = TrialStage::Back { number };
        log::event(Level::Warn, "rolling-back")
            .with("why", why)
            .with("firewall", if difference.is_none() { "back" } else { "not-back" })
            .maybe("error", difference)
            .emit();
        number
    }

    /// Has the rollback tried again.
    pub(super) fn try_again(&mut self) {
        self.stage = TrialStage::Again { at: Instant::now() + ROLLBACK_RETRY_DELAY };
    }

    /// Puts the old rules back for the last time: the server ends, and nobody has confirmed. The
    /// mark stays, so that the next start takes what ran before.
    pub(super) fn end_unconfirmed(self, handler: &mut RequestHandler) {
        let (config, clients, knock) = self.before;
        let attempt = |_| handler.restore_config(config.clone(), clients.clone(), knock.clone()).1;
        let mut found = None;
        let verified = (0..LAST_ATTEMPTS).map(attempt).any(|difference| {
            found = difference;
            found.is_none()
        });
        log::event(if verified { Level::Warn } else { Level::Error }, "rolled-back")
            .with("verified", if verified { "yes" } else { "no" })
            .maybe("error", found)
            .with("why", "the server ends")
            .with("next", "the next start takes the configuration of before the trial")
            .emit();
    }
}
