//! Messages between broker and runner.

use bincode::{Decode, Encode};

use crate::log::{self, Format, Level, LogEvent};

/// The hidden command that the runner runs.
pub const RUNNER_COMMAND: &str = "run-hooks";
/// Jobs that the broker gives the runner before it has reported one as done.
pub(crate) const MAX_OPEN_JOBS: usize = 64;

/// Task of the runner.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Task {
    /// Begin the log; the first message.
    ConfigureLog {
        /// Form of a line.
        format: Format,
        /// Least important level that is written.
        level: Level,
    },
    /// Run a program.
    Run(Job),
}

/// Event that a hook is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum HookEvent {
    /// A grant was opened: `on-open`.
    Open,
    /// A grant has ended: `on-close`.
    Close,
}

impl HookEvent {
    /// Word in the log and in `SPA_EVENT`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Close => "close",
        }
    }
}

/// Report of the runner: a job is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct JobReport {
    /// Number of the job.
    pub number: u64,
    /// The program ended by itself, with exit code 0.
    pub good: bool,
}

/// One program to run.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Job {
    /// The broker's number for it.
    pub number: u64,
    /// Absolute path and arguments, placeholders not yet replaced.
    pub run: Vec<String>,
    /// Whom it runs as.
    pub user: Option<String>,
    /// Time limit, milliseconds.
    pub limit_ms: u64,
    /// Values of the placeholders, in the order of `config::HOOK_PLACEHOLDERS`.
    pub values: [String; 5],
}

impl Job {
    /// Starts a log line about this job.
    pub(crate) fn log_line(&self, level: Level, name: &'static str) -> LogEvent<'static> {
        let [client, service, source, grant, event] = &self.values;
        log::event(level, name)
            .with("service", service)
            .with("hook", event)
            .with("client", client)
            .with("source", source)
            .with("grant", grant)
    }
}
