//! What is wrong in a client's folder, and the command that mends it. Reads only, and asks for no
//! passphrase.

mod life;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use spa_proto::ClientSecret;
use toml_edit::DocumentMut;

use crate::enrolment::host_line::HostLine;
use crate::file::{self, FileError};
use crate::finding::{Finding, Severity};
use crate::key::key_file::{self, KeyFileError};
use crate::key::split_key::SplitKey;
use crate::printable;
use crate::store::folder::{Folder, FolderError, check_host_name};

/// The largest `config.toml`, in bytes.
const CONFIG_LIMIT: u64 = 1024 * 1024;

/// Lists everything that is wrong in a folder, the worst first.
#[must_use]
pub fn check(folder: &Folder) -> Vec<Finding> {
    let mut check = Checker { folder, findings: Vec::new() };
    check.check_all();
    check.findings.sort();
    check.findings
}

struct Checker<'a> {
    folder: &'a Folder,
    findings: Vec<Finding>,
}

impl Checker<'_> {
    fn add_finding(
        &mut self,
        severity: Severity,
        path: &Path,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        let place = path.to_string_lossy().into_owned();
        self.findings.push(Finding::new(severity, place, what).remedy(mend));
    }

    fn check_all(&mut self) {
        let (path, identity) = (self.folder.path().to_owned(), self.folder.identity());
        if !path.exists() {
            return self.add_finding(Severity::Error, &path, "there is no key yet", "spa keygen");
        }
        self.check_permissions(&path);
        self.check_permissions(&self.folder.hosts());
        self.find_temp_files();
        let settings = self.read_settings();
        let mut keys: BTreeMap<PathBuf, Option<spa_proto::ClientPublic>> = BTreeMap::new();
        keys.insert(identity.clone(), None);
        let hosts = self.read_hosts();
        for (name, line) in &hosts {
            keys.insert(self.identity_of(&settings, name, line), None);
        }
        // A missing default key matters when a host wants it, or when there is nothing else.
        let wanted = |path: &Path| {
            hosts.iter().any(|(name, line)| self.identity_of(&settings, name, line) == path)
        };
        let needed: Vec<PathBuf> = keys
            .keys()
            .filter(|path| **path != identity || wanted(path) || hosts.is_empty())
            .cloned()
            .collect();
        for path in needed {
            let public = self.read_key(&path);
            keys.insert(path, public);
        }
        for (name, line) in &hosts {
            let identity = self.identity_of(&settings, name, line);
            if let Some(Some(public)) = keys.get(&identity)
                && !line.is_for(public)
            {
                let what = format!(
                    "{name} was enrolled for another key than {}, and will not hear this one",
                    identity.display()
                );
                let mend = format!("spa host add - --replace --name {name} --identity FILE");
                self.add_finding(Severity::Error, &self.host_file(name), what, mend);
            }
        }
        self.find_duplicates(&hosts);
        self.find_copies(&keys);
        self.check_answers(&hosts);
        self.find_strays(&settings, &hosts);
    }

    fn host_file(&self, name: &str) -> PathBuf {
        self.folder.hosts().join(format!("{name}.host"))
    }

    /// Checks owner and mode of a file that is no secret, but that others must not change.
    fn check_permissions(&mut self, path: &Path) {
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
    fn find_temp_files(&mut self) {
        for folder in [self.folder.path().to_owned(), self.folder.hosts()] {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            for path in entries.map(|entry| entry.path()) {
                let name = path
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned())
                    .unwrap_or_default();
                let pid = name.rsplit_once(".new-").map(|(_, pid)| pid);
                if pid.is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|c| c.is_ascii_digit()))
                {
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

    fn read_settings(&mut self) -> DocumentMut {
        let path = self.folder.config();
        self.check_permissions(&path);
        let edit = format!("${{EDITOR:-vi}} {}", quote_path(&path));
        let text = match file::read_public(&path, CONFIG_LIMIT) {
            Ok(text) => text,
            Err(FileError::Missing(_)) => return DocumentMut::new(),
            Err(error) => {
                self.add_finding(Severity::Error, &path, error.to_string(), edit);
                return DocumentMut::new();
            }
        };
        text.parse().unwrap_or_else(|error: toml_edit::TomlError| {
            let message = error.message().to_owned();
            self.add_finding(Severity::Error, &path, printable(&message).to_string(), edit);
            DocumentMut::new()
        })
    }

    /// Finds a host's key file as spa-client does: a rotated key is the host's own; else a path is
    /// relative to the folder, `~/` to the home.
    fn identity_of(&self, settings: &DocumentMut, host: &str, line: &HostLine) -> PathBuf {
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

    fn read_key(&mut self, path: &Path) -> Option<spa_proto::ClientPublic> {
        match key_file::read_public_half::<ClientSecret>(path) {
            Ok(public) => {
                let locked = key_file::read_locked(path).is_ok_and(|locked| locked.is_some());
                if !locked && SplitKey::read(path).is_ok_and(|split| split.is_none()) {
                    let what = "the key has no passphrase: whoever copies the file is this client";
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

    fn file_error(&mut self, path: &Path, error: &FileError, missing: &str) {
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

    fn read_hosts(&mut self) -> BTreeMap<String, HostLine> {
        let mut lines = BTreeMap::new();
        let names = match self.folder.host_names() {
            Ok(names) => names,
            Err(error) => {
                let path = self.folder.hosts();
                self.add_finding(
                    Severity::Error,
                    &path,
                    error.to_string(),
                    format!("ls -ld {}", quote_path(&path)),
                );
                return lines;
            }
        };
        for name in names {
            let path = self.host_file(&name);
            match self.folder.read_host(&name) {
                Ok(line) => {
                    lines.insert(name, line);
                }
                Err(FolderError::File(error)) => self.file_error(&path, &error, ""),
                Err(error) => {
                    let mend = format!("spa host add - --replace --name {name}");
                    self.add_finding(
                        Severity::Error,
                        &path,
                        printable(&error.to_string()).to_string(),
                        mend,
                    );
                }
            }
        }
        lines
    }

    /// Finds one enrolment under two names, and one psk at two servers.
    fn find_duplicates(&mut self, hosts: &BTreeMap<String, HostLine>) {
        let mut before: Vec<(&String, &HostLine)> = Vec::new();
        for (name, line) in hosts {
            let path = self.host_file(name);
            for (other, known) in &before {
                if known.server == line.server && known.client_check == line.client_check {
                    let what = format!("the same enrolment as {other}");
                    self.add_finding(
                        Severity::Warning,
                        &path,
                        what,
                        format!("spa host remove {name}"),
                    );
                } else if known.psk == line.psk {
                    let what = format!(
                        "the same pre-shared key as {other}, which every pair has of its own"
                    );
                    let mend = format!("spa host add - --replace --name {name}");
                    self.add_finding(Severity::Error, &path, what, mend);
                }
            }
            before.push((name, line));
        }
    }

    /// Finds settings of hosts that do not exist, and files that are no hosts.
    fn find_strays(&mut self, settings: &DocumentMut, hosts: &BTreeMap<String, HostLine>) {
        let path = self.folder.config();
        let named = settings.get("host").and_then(|hosts| hosts.as_table_like());
        for name in
            named.into_iter().flat_map(|hosts| hosts.iter().map(|(name, _)| name.to_owned()))
        {
            let exists = check_host_name(&name).is_ok() && self.host_file(&name).exists();
            if !exists && !hosts.contains_key(&name) {
                let what = format!("settings for {}, which is no host", printable(&name));
                let mend = format!("spa host remove {}", quote_path(Path::new(&name)));
                self.add_finding(Severity::Warning, &path, what, mend);
            }
        }
        let entries = match std::fs::read_dir(self.folder.hosts()) {
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            entries => entries.into_iter().flatten().flatten(),
        };
        let is_host = |path: &PathBuf| {
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            name.strip_suffix(".host").is_some_and(|name| check_host_name(name).is_ok())
                || name.contains(".new-")
        };
        let mut others: Vec<PathBuf> =
            entries.map(|entry| entry.path()).filter(|path| !is_host(path)).collect();
        others.sort();
        let known = self.find_rotations(hosts, &others);
        for path in others {
            if !known.contains(&path) {
                let what = "no host: it is not called NAME.host, and is not read";
                self.add_finding(
                    Severity::Warning,
                    &path,
                    what,
                    format!("ls -l {}", quote_path(&path)),
                );
            }
        }
    }
}

/// Quotes a path as one word of a shell's command.
fn quote_path(path: &Path) -> String {
    let text = printable(&path.to_string_lossy()).to_string();
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | ':' | '+' | '@');
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
