//! Record of what is open at an enforcer that does not expire by itself, on the disk before it is
//! opened: a later run closes it, whatever became of this one.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use spa_keys::file::{self, FileError};

use super::contract::EnforcedEntry;
use super::exec_lines::EntryLine;

const JOURNAL_VERSION: u32 = 1;
/// Most bytes of the file: more than a hundred thousand entries.
const MAX_JOURNAL_BYTES: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
struct EntryJournal {
    version: u32,
    entries: Vec<EntryLine>,
}

/// The file, and what it says.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    written: Vec<EnforcedEntry>,
}

impl Journal {
    /// Reads what an earlier run has left.
    ///
    /// # Errors
    /// It cannot be read: nobody knows what is open.
    pub(super) fn read(path: PathBuf) -> io::Result<Self> {
        let written = match file::read_secret_up_to(&path, MAX_JOURNAL_BYTES) {
            Ok(text) => {
                let content: EntryJournal = serde_json::from_str(text.expose())?;
                if content.version != JOURNAL_VERSION {
                    return Err(io::Error::other(format!("version {}", content.version)));
                }
                let entries = content.entries.into_iter().map(EnforcedEntry::try_from);
                entries.collect::<Result<_, _>>().map_err(io::Error::other)?
            }
            Err(FileError::Missing(_)) => Vec::new(),
            Err(error) => return Err(io::Error::other(error)),
        };
        Ok(Self { path, written })
    }

    /// Entries that may be open.
    pub(super) fn entries(&self) -> &[EnforcedEntry] {
        &self.written
    }

    /// Writes these entries, if it says others. On the disk when it returns.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write(&mut self, entries: Vec<EnforcedEntry>) -> io::Result<()> {
        if entries == self.written {
            return Ok(());
        }
        let content = EntryJournal {
            version: JOURNAL_VERSION,
            entries: entries.iter().map(EntryLine::from).collect(),
        };
        let text = serde_json::to_string(&content)?;
        if let Some(folder) = self.path.parent() {
            file::private_folder(folder).map_err(io::Error::other)?;
        }
        file::replace(&self.path, &(text + "\n")).map_err(io::Error::other)?;
        self.written = entries;
        Ok(())
    }
}
