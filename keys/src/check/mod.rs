//! Checks of a client's folder: each finding comes with the command that mends it. Reads only, and
//! asks for no passphrase.

mod checker;
mod enrolments;
mod files;
mod life;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use checker::Checker;

use crate::finding::{Finding, Severity};
use crate::store::folder::Folder;

/// Lists everything that is wrong in a folder, the worst first.
#[must_use]
pub fn check(folder: &Folder) -> Vec<Finding> {
    let mut checker = Checker { folder, findings: Vec::new() };
    checker.check_all();
    checker.findings.sort();
    checker.findings
}

impl Checker<'_> {
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
                    "{name} was enrolled for another key than {}, and will not accept this one",
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
}
