//! Changes `config.toml` of the client's folder and keeps its comments.

use std::path::{Path, PathBuf};

use toml_edit::{Array, DocumentMut, Item, Table, value};

use crate::file::{self, FileError};
use crate::{Failure, Folder, printable};

/// Largest `config.toml`, in bytes.
const MAX_CONFIG_BYTES: u64 = 1024 * 1024;

/// Settings that taking an enrolment line writes.
#[derive(Clone, Copy, Debug)]
pub struct HostEntry<'a> {
    /// Addresses or names to knock at.
    pub addresses: &'a [String],
    /// Key file.
    pub identity: Option<&'a Path>,
}

/// The value of a setting.
#[derive(Clone, Copy, Debug)]
pub enum Setting<'a> {
    /// Not set.
    None,
    /// A text.
    One(&'a str),
    /// A list of texts.
    Several(&'a [String]),
}

/// Settings of a folder while they are changed.
#[derive(Debug)]
pub struct ConfigEdit {
    path: PathBuf,
    document: DocumentMut,
    changed: bool,
}

impl ConfigEdit {
    /// Reads the folder's settings; none when the file is not there.
    ///
    /// # Errors
    /// When the file cannot be read or is no TOML.
    pub fn open(folder: &Folder) -> Result<Self, Failure> {
        let path = folder.config();
        let text = match file::read_settings(&path, MAX_CONFIG_BYTES) {
            Err(FileError::Missing(_)) => String::new(),
            other => other?,
        };
        let document = text.parse().map_err(|error: toml_edit::TomlError| {
            let message = error.to_string();
            Failure::config(format!("{}: {}", path.display(), printable(message.trim())))
        })?;
        Ok(Self { path, document, changed: false })
    }

    /// Sets what the entry names; other settings of the host stay.
    ///
    /// # Errors
    /// When the path is not UTF-8, or `host` in the file is no table.
    pub fn set(mut self, name: &str, entry: &HostEntry<'_>) -> Result<Self, Failure> {
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
                .ok_or_else(|| Failure::usage("the path of the identity must be UTF-8"))?;
            table.insert("identity", value(text));
        }
        self.changed = true;
        Ok(self)
    }

    /// Sets one key of a host, or takes it out.
    ///
    /// # Errors
    /// When `host` in the file is no table.
    pub fn put(mut self, name: &str, key: &str, setting: Setting<'_>) -> Result<Self, Failure> {
        let table = self.host_table(name)?;
        let item = match setting {
            Setting::None => None,
            Setting::One(text) => Some(toml_edit::Value::from(text)),
            Setting::Several(texts) => Some(texts.iter().collect::<Array>().into()),
        };
        match item {
            // In place, so that a comment behind the old value stays.
            Some(new) => match table.get_mut(key).and_then(Item::as_value_mut) {
                Some(old) => {
                    let decor = old.decor().clone();
                    *old = new;
                    *old.decor_mut() = decor;
                }
                None => drop(table.insert(key, Item::Value(new))),
            },
            None => drop(table.remove(key)),
        }
        if table.is_empty() {
            return Ok(self.remove(name));
        }
        self.changed = true;
        Ok(self)
    }

    /// Returns the file as it will be.
    #[must_use]
    pub fn text(&self) -> String {
        self.document.to_string()
    }

    /// Forgets a host's settings.
    #[must_use]
    pub fn remove(mut self, name: &str) -> Self {
        let hosts = self.document.get_mut("host").and_then(Item::as_table_like_mut);
        self.changed |= hosts.is_some_and(|hosts| hosts.remove(name).is_some());
        self
    }

    /// Tells whether there is something to save.
    pub(crate) fn has_changes(&self) -> bool {
        self.changed
    }

    fn host_table(&mut self, name: &str) -> Result<&mut dyn toml_edit::TableLike, Failure> {
        let wrong = || Failure::config(format!("{}: host is not a table", self.path.display()));
        let mut implicit = Table::new();
        implicit.set_implicit(true);
        let hosts = self.document.entry("host").or_insert(Item::Table(implicit));
        let hosts = hosts.as_table_like_mut().ok_or_else(wrong)?;
        hosts.entry(name).or_insert(Item::Table(Table::new())).as_table_like_mut().ok_or_else(wrong)
    }

    /// Writes the file atomically, if anything has changed.
    ///
    /// # Errors
    /// Error that the system gave.
    pub fn save(&self) -> Result<(), Failure> {
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
