//! Changes `config.toml` of the client's folder and keeps its comments.

use std::path::{Path, PathBuf};

use spa_keys::file::{self, FileError};
use spa_keys::{Folder, exit, printable};
use toml_edit::{Array, DocumentMut, Item, Table, value};

use crate::command::Failure;

const LIMIT: u64 = 1024 * 1024;

/// What `spa host add` writes there.
pub(crate) struct HostEntry<'a> {
    pub(crate) addresses: &'a [String],
    pub(crate) identity: Option<&'a Path>,
}

/// The settings, being changed.
pub(crate) struct ConfigEdit {
    path: PathBuf,
    document: DocumentMut,
    changed: bool,
}

impl ConfigEdit {
    pub(crate) fn open(folder: &Folder) -> Result<Self, Failure> {
        let path = folder.config();
        let text = match file::read_public(&path, LIMIT) {
            Err(FileError::Missing(_)) => String::new(),
            other => other?,
        };
        let document = text.parse().map_err(|error: toml_edit::TomlError| {
            let message = error.to_string();
            Failure::new(exit::CONFIG, format!("{}: {}", path.display(), printable(message.trim())))
        })?;
        Ok(Self { path, document, changed: false })
    }

    /// Sets what the entry names; other settings of the host stay.
    pub(crate) fn set(mut self, name: &str, entry: &HostEntry<'_>) -> Result<Self, Failure> {
        if entry.addresses.is_empty() && entry.identity.is_none() {
            return Ok(self);
        }
        let table = self.host_table(name)?;
        if !entry.addresses.is_empty() {
            table.insert("addresses", value(entry.addresses.iter().collect::<Array>()));
        }
        if let Some(identity) = entry.identity {
            let text = identity
                .to_str()
                .ok_or_else(|| Failure::new(exit::USAGE, "the path of the identity must be UTF-8"))?;
            table.insert("identity", value(text));
        }
        self.changed = true;
        Ok(self)
    }

    /// Forgets a host's settings.
    pub(crate) fn remove(mut self, name: &str) -> Self {
        let hosts = self.document.get_mut("host").and_then(Item::as_table_like_mut);
        self.changed |= hosts.is_some_and(|hosts| hosts.remove(name).is_some());
        self
    }

    /// Whether there is something to save.
    pub(crate) fn changed(&self) -> bool {
        self.changed
    }

    fn host_table(&mut self, name: &str) -> Result<&mut dyn toml_edit::TableLike, Failure> {
        let wrong = || Failure::new(exit::CONFIG, format!("{}: host is not a table", self.path.display()));
        let mut implicit = Table::new();
        implicit.set_implicit(true);
        let hosts = self.document.entry("host").or_insert(Item::Table(implicit));
        let hosts = hosts.as_table_like_mut().ok_or_else(wrong)?;
        hosts.entry(name).or_insert(Item::Table(Table::new())).as_table_like_mut().ok_or_else(wrong)
    }

    pub(crate) fn save(&self) -> Result<(), Failure> {
        if !self.changed {
            return Ok(());
        }
        if let Some(folder) = self.path.parent() {
            file::private_folder(folder)?;
        }
        // People keep settings elsewhere and link to them: write there, and leave the link.
        let path = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        Ok(file::replace(&path, &self.document.to_string())?)
    }
}
