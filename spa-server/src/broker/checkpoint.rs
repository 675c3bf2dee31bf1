//! The configuration of before a trial, set aside on the disk: whatever ends this process, the next
//! start finds it, and does not take what nobody has confirmed.
//!
//! In the folder of `opened.rs`, which the listener cannot reach. The clients' copy has pair keys
//! in it: it is protected as the original is, and gone when the trial is over. What came as a
//! credential is not copied, and the server's key never is.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spa_keys::Failure;
use spa_keys::file::{self, FileError};

use super::files::Opened;
use crate::config;
use crate::config::surroundings;
use crate::log::{self, Level};

/// Written last, removed first: with it the others count.
const MARK: &str = "trial";
const CONFIG: &str = "trial-config";
const CLIENTS: &str = "trial-clients";

/// A place for what is set aside.
#[derive(Clone, Debug)]
pub(super) struct Aside {
    folder: PathBuf,
}

/// What the mark says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mark {
    version: u32,
    /// The copy of the clients counts, not the file that the configuration names.
    clients: bool,
    /// When the trial began, unix milliseconds.
    began_ms: i64,
}

/// What was found at the start.
pub(super) struct Found {
    /// The configuration of before the trial.
    pub(super) opened: Opened,
    /// When the trial began, unix milliseconds.
    pub(super) began_ms: i64,
}

impl Aside {
    /// Beside this state folder.
    pub(super) fn of(state: &Path) -> Self {
        Self { folder: crate::config::paths::broker_folder(state) }
    }

    /// Sets a configuration aside; on the disk when it returns.
    pub(super) fn put(&self, running: &Opened) -> Result<(), FileError> {
        file::private_folder(&self.folder)?;
        file::replace_by(&self.folder.join(CONFIG), running.text())?;
        let clients = match running.clients_copy() {
            Some(copy) => file::replace_by(&self.folder.join(CLIENTS), copy).map(|()| true)?,
            None => false,
        };
        let mark = Mark { version: 1, clients, began_ms: jiff::Timestamp::now().as_millisecond() };
        let text = serde_json::to_string(&mark).map_err(|error| FileError::Io {
            path: self.folder.join(MARK),
            source: io::Error::other(error),
        })?;
        file::replace(&self.folder.join(MARK), &(text + "\n"))
    }

    /// Takes it away: what is on the disk counts again.
    pub(super) fn clear(&self) -> Result<(), FileError> {
        for name in [MARK, CLIENTS, CONFIG] {
            match file::remove(&self.folder.join(name)) {
                Ok(()) | Err(FileError::Missing(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What was set aside when a trial did not end. A mark that cannot be used leaves the file on
    /// the disk, loudly.
    pub(super) fn find(path: &Path) -> Option<Found> {
        let aside = Self::of(&config::state_folder(path, &surroundings(true)));
        let mark = match file::read_secret(&aside.folder.join(MARK)) {
            Ok(text) => text,
            Err(FileError::Missing(_)) => {
                // A crash between the copies and the mark: the trial had not begun, or was over.
                let _nothing_there = aside.clear();
                return None;
            }
            Err(error) => return unusable(&error.to_string()),
        };
        let mark = match serde_json::from_str::<Mark>(mark.expose()) {
            Ok(mark) if mark.version == 1 => mark,
            Ok(mark) => return unusable(&format!("version {}", mark.version)),
            Err(error) => return unusable(&error.to_string()),
        };
        match aside.open(path, &mark) {
            Ok(opened) => Some(Found { opened, began_ms: mark.began_ms }),
            Err(failure) => unusable(&failure.to_string()),
        }
    }

    fn open(&self, path: &Path, mark: &Mark) -> Result<Opened, Failure> {
        let text: File = file::open_secret(&self.folder.join(CONFIG))?;
        let clients =
            mark.clients.then(|| file::open_secret(&self.folder.join(CLIENTS))).transpose()?;
        Opened::of(path, text, clients)
    }
}

fn unusable(why: &str) -> Option<Found> {
    log::event(Level::Error, "trial-unreadable")
        .with("error", why)
        .with("taken", "the configuration on the disk, though nobody has confirmed it")
        .emit();
    None
}
