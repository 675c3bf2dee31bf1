//! What broker and runner say to each other.

use bincode::{Decode, Encode};

use crate::log::{self, Event, Level};

/// The hidden command that the runner runs.
pub const RUNNER_COMMAND: &str = "run-hooks";
/// Jobs that the broker gives the runner before it has reported one as done.
pub(crate) const MAX_OPEN_JOBS: usize = 64;

/// What the broker tells the runner.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Task {
    /// How to log; the first message.
    Log {
        /// 0 logfmt, 1 JSON, 2 journald.
        format: u8,
        /// 0 error to 3 debug.
        level: u8,
    },
    /// Run a program.
    Job(Job),
}

/// What the runner tells the broker: a job is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Report {
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
    /// Values of the placeholders, in the order of `config::PLACEHOLDERS`.
    pub values: [String; 5],
}

impl Job {
    pub(crate) fn line(&self, level: Level, name: &'static str) -> Event<'static> {
        let [client, service, source, grant, event] = &self.values;
        log::event(level, name)
            .with("service", service)
            .with("hook", event)
            .with("client", client)
            .with("source", source)
            .with("grant", grant)
    }
}
