//! The configuration of before a trial, set aside on the disk: whatever ends this process, the next
//! start finds it, and does not take what nobody has confirmed.
//!
//! In the folder of `config/activated.rs`, which the listener cannot reach. The clients' copy has
//! pair keys in it: it is protected as the original is, and gone when the trial is over. What
//! came as a credential is not copied, and the server's key never is.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spa_keys::Failure;
use spa_keys::file::{self, FileError};

use super::files::ConfigFiles;
use crate::config;
use crate::config::surroundings;
use crate::log::{self, Level};

/// Written last, removed first: with it the others count.
const MARK_FILE: &str = "trial";
const CONFIG_COPY_FILE: &str = "trial-config";
const CLIENTS_COPY_FILE: &str = "trial-clients";

/// A place for what is set aside.
#[derive(Clone, Debug)]
pub(super) struct Checkpoint {
    folder: PathBuf,
}

/// Content of the mark.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mark {
    version: u32,
    /// The copy of the clients counts, not the file that the configuration names.
    clients: bool,
    /// When the trial began, unix milliseconds.
    began_ms: i64,
    /// Clients that were removed since then: they are in the copies, and shut out.
    #[serde(default)]
    revoked: Vec<String>,
}

/// Checkpoint of a trial that an earlier run did not end.
pub(super) struct InterruptedTrial {
    /// The configuration of before the trial.
    pub(super) opened: ConfigFiles,
    /// When the trial began, unix milliseconds.
    pub(super) began_ms: i64,
    /// Clients that were removed since then.
    pub(super) revoked: Vec<String>,
}

impl Checkpoint {
    /// Beside this state folder.
    pub(super) fn beside_state(state: &Path) -> Self {
        Self { folder: crate::config::paths::broker_folder(state) }
    }

    /// Sets a configuration aside, with the clients that were removed since it was read; on the
    /// disk when it returns.
    pub(super) fn save_config(
        &self,
        running: &ConfigFiles,
        revoked: Vec<String>,
    ) -> Result<(), FileError> {
        file::private_folder(&self.folder)?;
        file::replace_by(&self.folder.join(CONFIG_COPY_FILE), running.config_text())?;
        let clients = match running.clients_copy() {
            Some(copy) => {
                file::replace_by(&self.folder.join(CLIENTS_COPY_FILE), copy).map(|()| true)?
            }
            None => false,
        };
        let began_ms = jiff::Timestamp::now().as_millisecond();
        self.write_mark(&Mark { version: 1, clients, began_ms, revoked })
    }

    /// Takes note of a client that was removed since: the next start must not let it in.
    pub(super) fn note_revoked(&self, client: &str) -> Result<(), FileError> {
        let path = self.folder.join(MARK_FILE);
        let mark = file::read_secret(&path)?;
        let mut mark: Mark = serde_json::from_str(mark.expose())
            .map_err(|error| FileError::Io { path, source: io::Error::other(error) })?;
        mark.revoked.push(client.to_owned());
        self.write_mark(&mark)
    }

    fn write_mark(&self, mark: &Mark) -> Result<(), FileError> {
        let text = serde_json::to_string(mark).map_err(|error| FileError::Io {
            path: self.folder.join(MARK_FILE),
            source: io::Error::other(error),
        })?;
        file::replace(&self.folder.join(MARK_FILE), &(text + "\n"))
    }

    /// Takes it away: what is on the disk counts again.
    pub(super) fn remove_files(&self) -> Result<(), FileError> {
        for name in [MARK_FILE, CLIENTS_COPY_FILE, CONFIG_COPY_FILE] {
            match file::remove(&self.folder.join(name)) {
                Ok(()) | Err(FileError::Missing(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Finds what was set aside when a trial did not end. A mark that cannot be used leaves the
    /// file on the disk, loudly.
    pub(super) fn find_interrupted(path: &Path) -> Option<InterruptedTrial> {
        let aside = Self::beside_state(&config::state_folder(path, &surroundings(true)));
        let mark = match file::read_secret(&aside.folder.join(MARK_FILE)) {
            Ok(text) => text,
            Err(FileError::Missing(_)) => {
                // A crash between the copies and the mark: the trial had not begun, or was over.
                let _nothing_there = aside.remove_files();
                return None;
            }
            Err(error) => return report_unusable(&error.to_string()),
        };
        let mark = match serde_json::from_str::<Mark>(mark.expose()) {
            Ok(mark) if mark.version == 1 => mark,
            Ok(mark) => return report_unusable(&format!("version {}", mark.version)),
            Err(error) => return report_unusable(&error.to_string()),
        };
        match aside.open_copies(path, &mark) {
            Ok(opened) => {
                let Mark { began_ms, revoked, .. } = mark;
                Some(InterruptedTrial { opened, began_ms, revoked })
            }
            Err(failure) => report_unusable(&failure.to_string()),
        }
    }

    fn open_copies(&self, path: &Path, mark: &Mark) -> Result<ConfigFiles, Failure> {
        let text: File = file::open_secret(&self.folder.join(CONFIG_COPY_FILE))?;
        let clients = mark
            .clients
            .then(|| file::open_secret(&self.folder.join(CLIENTS_COPY_FILE)))
            .transpose()?;
        ConfigFiles::from_copies(path, text, clients)
    }
}

fn report_unusable(why: &str) -> Option<InterruptedTrial> {
    log::event(Level::Error, "trial-unreadable")
        .with("error", why)
        .with("taken", "the configuration on the disk, though nobody has confirmed it")
        .emit();
    None
}
