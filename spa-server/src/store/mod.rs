//! State that must outlive the process so that no packet works twice.
//!
//! The server writes a *mark* ahead of the knocks that it accepts: whatever happens, a knock with a
//! time up to the mark is refused after a crash. A clean stop writes the used knocks themselves,
//! and the next start takes them back, once. Freshness, replay and restart in docs/protocol.md say
//! why.

pub mod audit;
mod claims;
mod content;
mod disk_store;
mod folder;
pub mod key_rollover;
mod slot_file;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

use bincode::{Decode, Encode};

pub use claims::Claims;
pub use disk_store::DiskStore;
use spa_keys::Failure;

/// State that a clean stop writes and the next start takes back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct StoreSnapshot {
    /// Sessions that never work again.
    pub used: Vec<Used>,
    /// Per client's public key: knocks with a `ts` up to this are refused.
    pub floors: Vec<([u8; 32], u64)>,
    /// Mark of which alone was known at the run's start, Unix milliseconds.
    pub unknown_mark: u64,
    /// Moment before which the run knew nothing else, nanoseconds of CLOCK_MONOTONIC.
    pub unknown_since: u64,
    /// Lead over the clock of time stamps accepted before that moment, milliseconds.
    pub unknown_reach: u64,
    /// When the run stopped, Unix milliseconds.
    pub stopped: u64,
    /// Lead over the clock that accepted time stamps may have had of which the next run knows
    /// nothing, should it not trust this snapshot; milliseconds.
    pub next_reach: u64,
    /// The server's public key at the stop; a reload may have changed it.
    pub server: [u8; 32],
}

/// A run of the server: what must be the same for a snapshot to be trusted by the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct RunIdentity {
    /// Drawn at the run's start.
    pub run: [u8; 16],
    /// The kernel's own id of this boot.
    pub boot: String,
    /// The machine's id (machine-id(5)).
    pub machine: String,
    /// The server's public key: one key, one store.
    pub server: [u8; 32],
    /// Lead over the clock that accepted time stamps may have had, milliseconds.
    pub reach: u64,
}

/// Number of a run that has not been: `spa-server init` writes it beside a new key.
const BEFORE_FIRST_RUN: [u8; 16] = [0; 16];
/// Most characters of an id of boot or machine that count; the usual ones have 36 and 32.
const MAX_ID_CHARS: usize = 64;

impl RunIdentity {
    /// A run of this boot of this machine, which accepts nothing that is ahead of its clock.
    #[must_use]
    pub fn on_this_machine(run: [u8; 16], server: [u8; 32]) -> Self {
        let read_id = |path: &str| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            text.trim().chars().take(MAX_ID_CHARS).collect()
        };
        let boot = read_id("/proc/sys/kernel/random/boot_id");
        Self { run, boot, machine: read_id("/etc/machine-id"), server, reach: 0 }
    }

    /// Stand-in for a run beside a key that was just made.
    #[must_use]
    pub fn before_the_first(server: [u8; 32]) -> Self {
        Self::on_this_machine(BEFORE_FIRST_RUN, server)
    }

    /// Returns true when no server has run with this store.
    #[must_use]
    pub fn is_before_the_first(&self) -> bool {
        self.run == BEFORE_FIRST_RUN
    }
}

/// A session that never works again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Used {
    /// Number of the session, chosen by the client.
    pub session: [u8; 16],
    /// The client's public key.
    pub client: [u8; 32],
    /// `ts` of the knock, Unix milliseconds.
    pub ts: u64,
    /// It opened; otherwise it was refused.
    pub accepted: bool,
}

/// State in which the store was found when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// There was no store. Nothing is known about earlier knocks.
    Missing,
    /// The last run did not stop cleanly: refuse every `ts` up to the mark.
    Crashed {
        /// Unix milliseconds.
        mark: u64,
    },
    /// The last run stopped cleanly. The snapshot is marked as taken before it is given out, so a
    /// crash from now on cannot bring it back.
    Clean {
        /// State that the last run wrote.
        snapshot: StoreSnapshot,
    },
    /// There was something that is no store of ours, or a damaged one. It was moved aside; nothing
    /// is known about earlier knocks.
    Unreadable {
        /// The fault, and the path that the file was moved to.
        why: String,
    },
}

/// An open store and what was found in it.
#[derive(Debug)]
pub struct OpenedStore {
    /// The store.
    pub store: DiskStore,
    /// State in which it was found.
    pub state: StoreState,
    /// The mark, Unix milliseconds; 0 in a store that says nothing.
    pub mark: u64,
    /// The last run, or what stands for it beside a new key; `None`: nothing is known.
    pub last_run: Option<RunIdentity>,
}

/// Why the store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another daemon has it.
    #[error(
        "{0} is in use by another spa-server: stop that one, or give this one a `state` folder of \
         its own"
    )]
    Busy(PathBuf),
    /// Somebody else could replace the store.
    #[error("{0} can be written by its group or by everybody: run `chmod go-w` on it")]
    Exposed(PathBuf),
    /// A later version of the program has written it, and knows of knocks what this one would not.
    #[error(
        "{0} was written by a later version of spa-server: install that one again, or move the \
         file away; without it no knock is taken for a minute"
    )]
    Later(PathBuf),
    /// The system refused.
    #[error("{path}: {source}; nothing is opened while the store cannot be written")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It was stopped.
    #[error("the store is stopped")]
    Stopped,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            // Trying again changes nothing.
            StoreError::Later(_) => Self::config(error.to_string()),
            _ => Self::failed(error.to_string()),
        }
    }
}
