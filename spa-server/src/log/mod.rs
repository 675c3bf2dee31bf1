//! The log: one line per event, flat, with stable keys.
//!
//! Every event has the keys `time`, `level` and `event` and then its own, among them `client`,
//! `service`, `source`, `grant`, `ttl` (seconds), `skew-ms` (client's clock minus ours) and
//! `reason`. In the journal they are called `SPA_EVENT`, `SPA_CLIENT`, `SPA_SKEW_MS` and so on.
//!
//! ```
//! use spa_server::log;
//! log::event(log::Level::Info, "knock")
//!     .with("client", "alice")
//!     .with("source", "192.0.2.1")
//!     .number("skew-ms", -12)
//!     .emit();
//! ```
//!
//! Strangers never cause a line of their own: see [`Strangers`].

mod event;
mod format;
mod internal_error;
mod journald;
mod line_budget;
mod logger;
mod standard_error;
mod strangers;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use bincode::{Decode, Encode};

pub use internal_error::{internal_errors, report_internal_errors};
pub(crate) use journald::JOURNAL_SOCKET;
pub use line_budget::LineBudget;
pub use logger::{LogEvent, Logger};
use standard_error::StandardError;
pub use strangers::{SUMMARY_INTERVAL, Strangers};

/// Form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Encode, Decode)]
pub enum Format {
    /// `key=value key="two words"` on standard error.
    #[default]
    Logfmt,
    /// One JSON object on standard error.
    Json,
    /// The journal's native protocol.
    Journald,
}

/// Importance of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Encode, Decode)]
pub enum Level {
    /// Something does not work.
    Error,
    /// Somebody should look.
    Warn,
    /// Ordinary work: knocks, grants, bans.
    #[default]
    Info,
    /// For looking into a problem.
    Debug,
}

impl Level {
    /// The word in a line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// The priority of syslog(3).
    #[must_use]
    pub fn priority(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warn => 4,
            Self::Info => 6,
            Self::Debug => 7,
        }
    }
}

static PROCESS_LOGGER: OnceLock<Logger> = OnceLock::new();

/// Sets the logger of this process, once. Until then events go to standard error as logfmt.
///
/// # Errors
/// The journal cannot be reached, or a logger is set already.
pub fn init(format: Format, level: Level) -> std::io::Result<()> {
    let logger = match format {
        Format::Journald => Logger::journald(level)?,
        text => Logger::text(text, level, Box::new(StandardError::find())),
    };
    PROCESS_LOGGER.set(logger).map_err(|_| std::io::Error::other("the log is set up already"))
}

/// Begins an event in the process's log; [`LogEvent::emit`] ends it.
pub fn event(level: Level, name: &'static str) -> LogEvent<'static> {
    static EARLY_LOGGER: OnceLock<Logger> = OnceLock::new();
    let early = || {
        EARLY_LOGGER.get_or_init(|| {
            Logger::text(Format::Logfmt, Level::Info, Box::new(StandardError::find()))
        })
    };
    PROCESS_LOGGER.get().unwrap_or_else(early).event(level, name)
}
