//! Enrolments: host files that cannot be read, duplicates, and what belongs to no host.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml_edit::DocumentMut;

use super::checker::{Checker, quote_path};
use crate::enrolment::host_line::HostLine;
use crate::finding::Severity;
use crate::store::folder::{FolderError, check_host_name};
use crate::text::printable;

impl Checker<'_> {
    /// Reads the lines of all hosts.
    pub(super) fn read_hosts(&mut self) -> BTreeMap<String, HostLine> {
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
    pub(super) fn find_duplicates(&mut self, hosts: &BTreeMap<String, HostLine>) {
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
    pub(super) fn find_strays(
        &mut self,
        settings: &DocumentMut,
        hosts: &BTreeMap<String, HostLine>,
    ) {
        let path = self.folder.config();
        let named = settings.get("host").and_then(|hosts| hosts.as_table_like());
        for name in
            named.into_iter().flat_map(|hosts| hosts.iter().map(|(name, _)| name.to_owned()))
        {
            let exists = check_host_name(&name).is_ok() && self.host_file(&name).exists();
            if !exists && !hosts.contains_key(&name) {
                let what = format!("settings for {}, which is not a host", printable(&name));
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
                let what = "not read: the name of a host file is NAME.host";
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
