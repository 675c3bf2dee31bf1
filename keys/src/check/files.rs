//! Files of a client's folder: owners, modes, settings and keys.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use spa_proto::ClientSecret;
use toml_edit::{DocumentMut, Item};

use super::checker::{Checker, quote_path};
use crate::enrolment::host_line::HostLine;
use crate::file::{self, FileError};
use crate::finding::Severity;
use crate::key::key_file::{self, KeyFileError};
use crate::key::split_key::SplitKey;
use crate::store::settings::check_settings;
use crate::text::printable;

/// The largest `config.toml`, in bytes.
const MAX_CONFIG_BYTES: u64 = 1024 * 1024;

impl Checker<'_> {
    /// Checks owner and mode of a file that is no secret, but that others must not change.
    pub(super) fn check_permissions(&mut self, path: &Path) {
        let Ok(meta) = std::fs::metadata(path) else { return };
        let us = nix::unistd::geteuid().as_raw();
        if meta.uid() != us && meta.uid() != 0 {
            let what = format!("user {} owns it and could change it", meta.uid());
            self.add_finding(
                Severity::Error,
                path,
                what,
                format!("sudo chown {us} {}", quote_path(path)),
            );
        }
        if meta.mode() & 0o022 != 0 {
            let what = format!("others may write to it (mode {:04o})", meta.mode() & 0o7777);
            self.add_finding(
                Severity::Error,
                path,
                what,
                format!("chmod go-w {}", quote_path(path)),
            );
        }
    }

    /// Finds temporary files that an interrupted change left, with a secret in them.
    pub(super) fn find_temp_files(&mut self) {
        for folder in [self.folder.path().to_owned(), self.folder.hosts()] {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            for path in entries.map(|entry| entry.path()) {
                let name = path
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned())
                    .unwrap_or_default();
                if file::is_temp_name(&name) {
                    let what = "an interrupted change left it behind; it may hold a secret";
                    self.add_finding(
                        Severity::Warning,
                        &path,
                        what,
                        format!("rm {}", quote_path(&path)),
                    );
                }
            }
        }
    }

    /// Reads `config.toml`; empty when it cannot be read.
    pub(super) fn read_settings(&mut self) -> DocumentMut {
        let path = self.folder.config();
        self.check_permissions(&path);
        let edit = format!("${{EDITOR:-vi}} {}", quote_path(&path));
        let text = match file::read_public(&path, MAX_CONFIG_BYTES) {
            Ok(text) => text,
            Err(FileError::Missing(_)) => return DocumentMut::new(),
            Err(error) => {
                self.add_finding(Severity::Error, &path, error.to_string(), edit);
                return DocumentMut::new();
            }
        };
        let document = text.parse().unwrap_or_else(|error: toml_edit::TomlError| {
            let message = error.message().to_owned();
            self.add_finding(Severity::Error, &path, printable(&message).to_string(), &*edit);
            DocumentMut::new()
        });
        for what in find_wrong_settings(&document) {
            self.add_finding(Severity::Error, &path, what, &*edit);
        }
        document
    }

    /// Finds a host's key file as spa-client does: a rotated key is the host's own; else a path is
    /// relative to the folder, `~/` to the home.
    pub(super) fn identity_of(
        &self,
        settings: &DocumentMut,
        host: &str,
        line: &HostLine,
    ) -> PathBuf {
        let own = self.folder.key_of(line);
        if own.exists() {
            return own;
        }
        let named =
            settings.get("host").and_then(|hosts| hosts.get(host)?.get("identity")?.as_str());
        let Some(path) = named.map(Path::new) else { return self.folder.identity() };
        match (path.strip_prefix("~"), std::env::var_os("HOME")) {
            (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
            _ => self.folder.path().join(path),
        }
    }

    /// Reads the public half of a key file.
    pub(super) fn read_key(&mut self, path: &Path) -> Option<spa_proto::ClientPublic> {
        match key_file::read_public_half::<ClientSecret>(path) {
            Ok(public) => {
                let locked = key_file::read_locked(path).is_ok_and(|locked| locked.is_some());
                if !locked && SplitKey::read(path).is_ok_and(|split| split.is_none()) {
                    let what = "the key has no passphrase: whoever copies the file can act as \
                        this client";
                    self.add_finding(
                        Severity::Hint,
                        path,
                        what,
                        format!("spa passwd {}", quote_path(path)),
                    );
                }
                Some(public)
            }
            Err(KeyFileError::File(error)) => {
                self.file_error(path, &error, &format!("spa keygen -o {}", quote_path(path)));
                None
            }
            Err(error) => {
                let mend = format!("mv {0} {0}.old; spa keygen -o {0}", quote_path(path));
                self.add_finding(
                    Severity::Error,
                    path,
                    printable(&error.to_string()).to_string(),
                    mend,
                );
                None
            }
        }
    }

    /// Adds a finding about a secret file that cannot be used; `missing` fixes a missing one.
    pub(super) fn file_error(&mut self, path: &Path, error: &FileError, missing: &str) {
        let at = quote_path(path);
        let (what, mend) = match error {
            FileError::Missing(_) => ("the key is missing".to_owned(), missing.to_owned()),
            FileError::Mode { mode, .. } => {
                (format!("others may use this secret (mode {mode:04o})"), format!("chmod 600 {at}"))
            }
            FileError::Owner { owner, us, .. } => (
                format!("user {owner} owns it and could change it"),
                format!("sudo chown {us} {at}"),
            ),
            FileError::Symlink(_) => (
                "a symbolic link: whoever can change the link chooses the secret".to_owned(),
                format!("cp --remove-destination \"$(readlink -f {at})\" {at}"),
            ),
            other => (printable(&other.to_string()).to_string(), format!("ls -l {at}")),
        };
        self.add_finding(Severity::Error, path, what, mend);
    }
}

/// Finds settings that spa-client refuses.
fn find_wrong_settings(document: &DocumentMut) -> Vec<String> {
    let hosts = document.get("host").and_then(|hosts| hosts.as_table_like());
    let wrong = |(name, host): (&str, &Item)| {
        let list = |key: &str| -> Vec<String> {
            let values = host.get(key).and_then(Item::as_array).into_iter().flatten();
            values.filter_map(|value| value.as_str().map(str::to_owned)).collect()
        };
        let identity = host.get("identity").and_then(Item::as_str).map(Path::new);
        let checked = check_settings(&list("addresses"), &list("aliases"), identity);
        checked.err().map(|error| format!("host {}: {error}", printable(name)))
    };
    hosts.into_iter().flat_map(|hosts| hosts.iter()).filter_map(wrong).collect()
}
