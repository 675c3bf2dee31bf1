//! `spa-server try` and `spa-server confirm`.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use spa_keys::Failure;

use super::countdown::{self, Interrupt, ROLLED_BACK};
use super::table::{count, elapsed, time};
use super::talk::Asking;
use crate::broker::TRIAL_SECONDS;
use crate::control::Command;
use crate::control::rows::{Done, TrialBegun};
use crate::control::status::{RollbackState, ServerStatus};
use crate::host_check::ssh_session;
use spa_keys::duration::{self, DurationError};

/// Reload on trial: roll back unless confirmed in time
#[derive(Debug, Args)]
#[command(
    after_help = "Rolls back by itself unless `spa-server confirm` comes in time. An invalid \
        configuration\nchanges nothing; exit code 78.\n\nExample:\n  spa-server try --for 5m"
)]
pub(super) struct TryArgs {
    /// Time until it is rolled back unless it is confirmed, 10s to 1h
    #[arg(long = "for", value_name = "TIME", value_parser = parse_trial_time)]
    #[arg(default_value = "120s", conflicts_with = "cancel")]
    time: u64,
    /// End the trial that runs: roll back now
    #[arg(long)]
    cancel: bool,
    /// Return when the trial has begun. On a terminal `try` waits for its end, counts down, and
    /// rolls back on Ctrl-C; elsewhere it returns anyway
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    asking: Asking,
}

/// Keep the configuration that is on trial
#[derive(Debug, Args)]
#[command(after_help = "Run it in a new session: an established one proves nothing.\n\n\
        Example:\n  spa-server confirm")]
pub(super) struct ConfirmArgs {
    /// Also from the ssh session that began the trial, which stays whatever the rules say and
    /// proves nothing
    #[arg(long)]
    same_session: bool,
    #[command(flatten)]
    asking: Asking,
}

impl TryArgs {
    /// Begins a trial and, on a terminal, waits for its end; or ends the one that runs.
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.cancel {
            return self.asking.run(Command::Cancel, |_: &Done| format!("{ROLLED_BACK}\n"));
        }
        let waits = !self.no_wait && !self.asking.json && std::io::stdout().is_terminal();
        let interrupt = if waits { Some(Interrupt::hold_back()?) } else { None };
        let mut line = self.asking.place().connect();
        let asked = Command::Try { time_s: Some(self.time), session: ssh_session() };
        let outcome = line
            .as_mut()
            .map_err(|failure| failure.clone())
            .and_then(|line| line.request_raw(asked));
        let begun = self.asking.print_response(outcome, |answer| text(answer, waits))?;
        match (line, interrupt) {
            (Ok(mut line), Some(interrupt)) => countdown::wait(&mut line, &interrupt, begun.trial),
            _ => Ok(()),
        }
    }
}

fn text(begun: &TrialBegun, waits: bool) -> String {
    let note = begun
        .note
        .as_deref()
        .map_or_else(String::new, |note| format!("; {}", spa_keys::printable(note)));
    format!(
        "on trial for {}: {}{note}\nlog in again, in a second session, and run there: spa-server \
         confirm\notherwise everything is rolled back automatically; at once: {}spa-server try \
         --cancel\n",
        time(begun.trial_s),
        count(begun.clients, "client"),
        if waits { "Ctrl-C here, or " } else { "" },
    )
}

impl ConfirmArgs {
    /// Asks the server to keep the configuration; the session that began the trial is refused.
    pub(super) fn run(self) -> Result<(), Failure> {
        let session = if self.same_session { None } else { ssh_session() };
        self.asking.run(Command::Confirm { session }, |_: &Done| {
            "confirmed: what was on trial stays\n".to_owned()
        })
    }
}

/// The lines of `status` about a trial.
pub(super) fn lines(status: &ServerStatus) -> String {
    let mut out = String::new();
    if let Some(trial) = &status.trial {
        out.push_str(&format!(
            "warning: on trial, by user {}, {} left: log in again and run spa-server confirm, or \
            it is rolled back\n",
            trial.by,
            time(trial.left_s),
        ));
    }
    if let Some(back) = &status.rolled_back {
        out.push_str(&rolled_back(back, status.clock.ms));
    }
    out
}

fn rolled_back(back: &RollbackState, now_ms: u64) -> String {
    let ago = elapsed(back.ms, now_ms);
    let why = match back.why.as_str() {
        "restart" => "the server ended in the middle of a trial",
        _ => "a trial was not confirmed",
    };
    let verified = if back.verified {
        ""
    } else {
        "; the kernel does NOT have the old rules yet, see the log"
    };
    format!(
        "warning: the configuration on disk is not the one in force: rolled back {ago} ago, \
        {why}{verified}. Correct it: the next reload or restart reads it\n"
    )
}

/// Parses the time that a trial may last, to whole seconds.
fn parse_trial_time(text: &str) -> Result<u64, DurationError> {
    let bounds =
        Duration::from_secs(*TRIAL_SECONDS.start())..=Duration::from_secs(*TRIAL_SECONDS.end());
    duration::parse_within(text, bounds).map(|time| time.as_secs())
}
