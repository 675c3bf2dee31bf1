//! The server's unit with its drop-ins, read from their files as systemd reads them
//! (systemd.unit(5)).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Name of the unit that we install.
pub(super) const UNIT: &str = "spa-server.service";
/// Folders of drop-ins: of this unit, of a prefix of its name, of all services.
const DROP_INS: [&str; 3] = ["spa-server.service.d", "spa-.service.d", "service.d"];
/// Where systemd looks for units, the first that has a file wins.
pub(super) const UNIT_FOLDERS: [&str; 8] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// Specifiers of the system's manager that stand for folders, and for the unit's name.
const SPECIFIERS: [(&str, &str); 8] = [
    ("%t", "/run"),
    ("%S", "/var/lib"),
    ("%C", "/var/cache"),
    ("%L", "/var/log"),
    ("%E", "/etc"),
    ("%N", "spa-server"),
    ("%p", "spa-server"),
    ("%n", UNIT),
];

/// Assignments of `[Service]`, in the order in which systemd makes them.
#[derive(Debug, Default)]
pub(super) struct UnitSettings(Vec<(String, String)>);

impl UnitSettings {
    /// Reads the unit and its drop-ins below these folders; `None`: there is none, or it is masked.
    ///
    /// # Errors
    /// A file of it cannot be read.
    pub(super) fn read(folders: &[&Path]) -> io::Result<Option<Self>> {
        let mut files = folders.iter().map(|folder| folder.join(UNIT));
        let Some(path) = files.find(|path| fs::symlink_metadata(path).is_ok()) else {
            return Ok(None);
        };
        let text = fs::read_to_string(&path)?;
        if text.is_empty() {
            return Ok(None);
        }
        let mut this = Self::default();
        this.assign(&text);
        let mut drop_ins: BTreeMap<OsString, PathBuf> = BTreeMap::new();
        for folder in DROP_INS.iter().flat_map(|name| folders.iter().map(move |at| at.join(name))) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.extension().is_some_and(|extension| extension == "conf") {
                    drop_ins.entry(entry.file_name()).or_insert(path);
                }
            }
        }
        for path in drop_ins.into_values() {
            this.assign(&fs::read_to_string(path)?);
        }
        Ok(Some(this))
    }

    fn assign(&mut self, text: &str) {
        let mut in_service = false;
        let mut held = String::new();
        for line in text.lines() {
            let line = line.trim();
            // A comment does not end a line that goes on.
            if line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(begun) = line.strip_suffix('\\') {
                held.push_str(begun);
                held.push(' ');
                continue;
            }
            let whole = std::mem::take(&mut held) + line;
            if whole.starts_with('[') {
                in_service = whole == "[Service]";
            } else if in_service && let Some((key, value)) = whole.split_once('=') {
                self.0.push((key.trim().to_owned(), value.trim().to_owned()));
            }
        }
    }

    fn values<'s>(&'s self, key: &str) -> impl DoubleEndedIterator<Item = &'s str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Value that holds; `None`: none, or it was taken back.
    pub(super) fn last(&self, key: &str) -> Option<&str> {
        self.values(key).next_back().filter(|value| !value.is_empty())
    }

    /// Tells whether a switch is on.
    pub(super) fn is_on(&self, key: &str) -> bool {
        self.last(key).is_some_and(|value| {
            ["1", "yes", "y", "true", "t", "on"].contains(&&*value.to_ascii_lowercase())
        })
    }

    /// Words of a list, to which each assignment adds; an empty one takes all back.
    pub(super) fn list(&self, key: &str) -> Vec<String> {
        let mut words = Vec::new();
        for value in self.values(key) {
            if value.is_empty() {
                words.clear();
            }
            words.extend(value.split_whitespace().map(expand));
        }
        words
    }

    /// Tells whether a list that allows, or with `~` forbids, has this word. Without an assignment
    /// it is `unset`, after an empty one `emptied`.
    pub(super) fn allows(&self, key: &str, word: &str, unset: bool, emptied: bool) -> bool {
        let (mut allowed, mut first) = (unset, true);
        for value in self.values(key) {
            let (negated, words) = match value.strip_prefix('~') {
                Some(words) => (true, words),
                None => (false, value),
            };
            let named = words.split_whitespace().any(|one| one == word);
            (allowed, first) = match (value.is_empty(), named) {
                (true, _) => (emptied, true),
                (false, true) => (!negated, false),
                (false, false) if first => (negated, false),
                (false, false) => (allowed, false),
            };
        }
        allowed
    }
}

/// A word with the specifiers that are the same everywhere, and without quotes.
fn expand(word: &str) -> String {
    let plain = word.trim_matches(['"', '\'']).to_owned();
    SPECIFIERS.iter().fold(plain, |text, (name, value)| text.replace(name, value))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_add_and_take_back() {
        let folder = std::env::temp_dir().join(format!("spa-unit-{}", std::process::id()));
        let (etc, lib) = (folder.join("etc"), folder.join("lib"));
        for at in [&etc, &lib] {
            fs::create_dir_all(at.join("spa-server.service.d")).unwrap();
        }
        fs::create_dir_all(lib.join("service.d")).unwrap();
        let unit = "[Unit]\nUser=no\n[Service]\nUser=spa\n# a\nReadWritePaths=/a \\\n; b\n /b\n\
            RestrictAddressFamilies=AF_UNIX AF_NETLINK\nPrivateTmp=yes\n";
        fs::write(lib.join(UNIT), unit).unwrap();
        fs::write(lib.join("service.d/10-all.conf"), "[Service]\nPrivateTmp=no\n").unwrap();
        fs::write(lib.join("spa-server.service.d/20.conf"), "[Service]\nUser=nobody\n").unwrap();
        let own = "[Service]\nReadWritePaths=\nReadWritePaths=%S/c\n\
            RestrictAddressFamilies=AF_INET\nRestrictAddressFamilies=~AF_UNIX\n";
        fs::write(etc.join("spa-server.service.d/30.conf"), own).unwrap();
        // One of the same name, and nothing in it, takes the other's place.
        fs::write(etc.join("spa-server.service.d/20.conf"), "").unwrap();
        let folders = [etc.as_path(), lib.as_path()];
        let read = UnitSettings::read(&folders).unwrap().unwrap();
        assert_eq!(read.last("User"), Some("spa"));
        assert!(!read.is_on("PrivateTmp"));
        assert_eq!(read.list("ReadWritePaths"), ["/var/lib/c"]);
        let family = |word| read.allows("RestrictAddressFamilies", word, true, true);
        assert_eq!(
            ["AF_UNIX", "AF_NETLINK", "AF_INET", "AF_PACKET"].map(family),
            [false, true, true, false]
        );
        assert!(read.allows("CapabilityBoundingSet", "CAP_NET_ADMIN", true, false));
        std::os::unix::fs::symlink("/dev/null", etc.join(UNIT)).unwrap();
        assert!(UnitSettings::read(&folders).unwrap().is_none());
        fs::remove_dir_all(&folder).unwrap();
    }
}
