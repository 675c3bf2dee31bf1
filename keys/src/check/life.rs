//! Checks for access that has expired, was never used, or was left half set up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use spa_proto::ClientPublic;

use super::checker::{Checker, quote_path};
use crate::enrolment::host_line::HostLine;
use crate::finding::Severity;
use crate::key::key_file::only_line;
use crate::store::last_answer::LastAnswer;
use crate::{check_host_name, file, printable};

/// Time after the enrolment when a host should have answered.
const ANSWER_DEADLINE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Time that a server keeps a client's old keys, unless its `rotate-overlap` says otherwise.
const ROTATE_OVERLAP: Duration = Duration::from_secs(24 * 60 * 60);

impl Checker<'_> {
    /// Finds hosts where the client's access has expired, and those that have never answered.
    pub(super) fn check_answers(&mut self, hosts: &BTreeMap<String, HostLine>) {
        for (name, line) in hosts {
            let path = self.host_file(name);
            match LastAnswer::read(self.folder, name, line) {
                Some(seen) if seen.answer == "expired" => {
                    let service =
                        line.services.first().map_or("SERVICE", |service| service.name.as_str());
                    let what = format!(
                        "the access of {} at {name} has expired, it said at {:.0}; ask the \
                        administrator of that server, then try again",
                        printable(&line.name),
                        seen.last
                    );
                    let target = PathBuf::from(format!("{service}@{name}"));
                    self.add_finding(
                        Severity::Error,
                        &path,
                        what,
                        format!("spa-client open {}", quote_path(&target)),
                    );
                }
                Some(_) => {}
                // A server that never answers cannot be told from one that is gone.
                None if !line.ack => {}
                None => {
                    let old = file_age(&path).is_some_and(|age| age > ANSWER_DEADLINE);
                    let severity = if old { Severity::Warning } else { Severity::Hint };
                    let what = if old {
                        format!(
                            "{name} has never answered this key, in more than a week; if it is not \
                             needed: spa host remove {name}"
                        )
                    } else {
                        format!("{name} has not answered this key yet")
                    };
                    self.add_finding(
                        severity,
                        &path,
                        what,
                        format!("spa-client doctor {name} --knock"),
                    );
                }
            }
        }
    }

    /// Finds the same key in two files: losing one loses both, and a rotation of one does not
    /// rotate the other.
    pub(super) fn find_copies(&mut self, keys: &BTreeMap<PathBuf, Option<ClientPublic>>) {
        let mut before: Vec<(&PathBuf, &ClientPublic)> = Vec::new();
        for (path, public) in
            keys.iter().filter_map(|(path, public)| Some((path, public.as_ref()?)))
        {
            if let Some((first, _)) = before.iter().find(|(_, known)| *known == public) {
                let what =
                    format!("the same key as {}: a copy is one more to lose", first.display());
                self.add_finding(Severity::Warning, path, what, format!("rm {}", quote_path(path)));
            }
            before.push((path, public));
        }
    }

    /// Finds rotations that were interrupted, and the files that they left.
    pub(super) fn find_rotations(
        &mut self,
        hosts: &BTreeMap<String, HostLine>,
        others: &[PathBuf],
    ) -> BTreeSet<PathBuf> {
        let mut known: BTreeSet<PathBuf> =
            hosts.values().map(|line| self.folder.key_of(line)).collect();
        // A host that cannot be read may use any of them.
        let mut whole = self.folder.host_names().is_ok_and(|names| names.len() == hosts.len());
        for path in others {
            let Some((name, end)) = file_name(path).and_then(|name| name.rsplit_once('.')) else {
                continue;
            };
            let enrolled = self.host_file(name).exists();
            match end {
                "rotating" if enrolled => {
                    match read_rotating_line(path) {
                        Some(line) => drop(known.insert(self.folder.key_of(&line))),
                        None => whole = false,
                    }
                    let late = file_age(path).is_some_and(|age| age > ROTATE_OVERLAP);
                    let (severity, what) = if late {
                        let what = "a rotation was interrupted more than a day ago: the server \
                            may know only the new key";
                        (Severity::Error, what)
                    } else {
                        (
                            Severity::Warning,
                            "a rotation was interrupted: the server may have the new key",
                        )
                    };
                    self.add_finding(severity, path, what, format!("spa rotate {name}"));
                    known.insert(path.clone());
                }
                "fresh" if enrolled => {
                    let what = "a rotation was interrupted before its key was sent";
                    self.add_finding(
                        Severity::Warning,
                        path,
                        what,
                        format!("rm {}", quote_path(path)),
                    );
                    known.insert(path.clone());
                }
                "seen" if check_host_name(name).is_ok() => {
                    if !enrolled {
                        let what = format!("about {}, which is not a host", printable(name));
                        self.add_finding(
                            Severity::Warning,
                            path,
                            what,
                            format!("rm {}", quote_path(path)),
                        );
                    }
                    known.insert(path.clone());
                }
                _ => {}
            }
        }
        for path in others.iter().filter(|path| file_name(path).is_some_and(is_own_key)) {
            if whole && !known.contains(path) {
                let what =
                    "no host uses this key: a rotation or a host that was removed left it behind";
                self.add_finding(Severity::Warning, path, what, format!("rm {}", quote_path(path)));
            }
            known.insert(path.clone());
        }
        known
    }
}

/// Reads the line of an interrupted rotation.
fn read_rotating_line(path: &Path) -> Option<HostLine> {
    let text = file::read_secret(path).ok()?;
    HostLine::from_text(only_line(text.expose()).ok()?.1).ok()
}

/// Tells whether a file is called `CHECK.key`, as a rotation names it.
fn is_own_key(name: &str) -> bool {
    name.strip_suffix(".key")
        .is_some_and(|check| check.len() == 16 && check.bytes().all(|c| c.is_ascii_hexdigit()))
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

fn file_age(path: &Path) -> Option<Duration> {
    SystemTime::now().duration_since(std::fs::metadata(path).ok()?.modified().ok()?).ok()
}
