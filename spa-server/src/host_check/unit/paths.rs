//! Rights of the unit's user on a path, in the view of files that the unit gives it
//! (systemd.exec(5), "Sandboxing" and "Paths").

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid};

use super::settings::{UNIT, UnitSettings};

/// Use that the server makes of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Reads the file.
    Read,
    /// Makes and replaces files in the folder.
    Write,
    /// Starts the program.
    Start,
}

/// Rights that the unit leaves to a part of the file tree; the later one wins at the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Right {
    Whole,
    ReadOnly,
    Hidden,
}

/// User of the unit.
pub(super) struct UnitUser {
    /// As the unit names it.
    pub(super) name: String,
    pub(super) uid: Uid,
    /// Own group and the others.
    pub(super) groups: Vec<Gid>,
    /// The modes of files do not hold for it.
    pub(super) above_modes: bool,
}

/// View of files in the unit.
pub(super) struct UnitView {
    user: Option<UnitUser>,
    rights: Vec<(PathBuf, Right, String)>,
    /// Folders that systemd makes, or gives to the user, at the start.
    managed: Vec<PathBuf>,
}

impl UnitView {
    /// The view of this unit; without a user the modes of files are not looked at.
    pub(super) fn new(unit: &UnitSettings, user: Option<UnitUser>) -> Self {
        let mut this = Self { user, rights: Vec::new(), managed: Vec::new() };
        let dynamic = unit.is_on("DynamicUser");
        this.protect_system(unit, dynamic);
        this.protect_home(unit, dynamic);
        if dynamic || unit.last("PrivateTmp").is_some_and(|value| value != "no") {
            for path in ["/tmp", "/var/tmp"] {
                this.add(path, Right::Hidden, "PrivateTmp=yes");
            }
        }
        for (key, right) in [
            ("ReadWritePaths", Right::Whole),
            ("ReadOnlyPaths", Right::ReadOnly),
            ("InaccessiblePaths", Right::Hidden),
            ("TemporaryFileSystem", Right::Hidden),
        ] {
            for word in unit.list(key) {
                let path = word.trim_start_matches(['-', '+']);
                let path = path.split(':').next().unwrap_or(path);
                this.add(path, right, &format!("{key}={word}"));
            }
        }
        for (key, right) in [("BindPaths", Right::Whole), ("BindReadOnlyPaths", Right::ReadOnly)] {
            for word in unit.list(key) {
                let mut parts = word.trim_start_matches('-').split(':');
                let from = parts.next().unwrap_or_default();
                this.add(parts.next().unwrap_or(from), right, &format!("{key}={word}"));
            }
        }
        for (key, base) in [
            ("StateDirectory", "/var/lib"),
            ("RuntimeDirectory", "/run"),
            ("CacheDirectory", "/var/cache"),
            ("LogsDirectory", "/var/log"),
        ] {
            for word in unit.list(key) {
                let path = Path::new(base).join(word.split(':').next().unwrap_or(&word));
                this.rights.push((path.clone(), Right::Whole, format!("{key}={word}")));
                this.managed.push(path);
            }
        }
        this
    }

    fn add(&mut self, path: &str, right: Right, by: &str) {
        self.rights.push((resolve(Path::new(path)).0, right, by.to_owned()));
    }

    fn protect_system(&mut self, unit: &UnitSettings, dynamic: bool) {
        let value = unit.last("ProtectSystem").unwrap_or_default();
        let by = format!("ProtectSystem={value}");
        let closed: &[&str] = match value {
            "strict" => &["/"],
            "full" => &["/usr", "/boot", "/efi", "/etc"],
            "" | "no" | "false" | "0" | "off" if dynamic => &["/"],
            "yes" | "true" | "1" | "on" => &["/usr", "/boot", "/efi"],
            _ => return,
        };
        let by = if dynamic && value != "strict" { "DynamicUser=yes" } else { &by };
        for path in closed {
            self.add(path, Right::ReadOnly, by);
        }
        if closed == ["/"] {
            for path in ["/dev", "/proc", "/sys", "/home", "/root", "/run/user"] {
                self.add(path, Right::Whole, by);
            }
        }
    }

    fn protect_home(&mut self, unit: &UnitSettings, dynamic: bool) {
        let value = unit.last("ProtectHome").unwrap_or(if dynamic { "read-only" } else { "no" });
        let right = match value {
            "yes" | "true" | "1" | "on" | "tmpfs" => Right::Hidden,
            "read-only" => Right::ReadOnly,
            _ => return,
        };
        for path in ["/home", "/root", "/run/user"] {
            self.add(path, right, &format!("ProtectHome={value}"));
        }
    }

    /// Finds what stands in the way of a use of a path, and what to do about it; nothing when
    /// nothing does, or when it is not there and need not be.
    pub(super) fn find_obstacle(&self, path: &Path, used: Use) -> Option<String> {
        let (path, _) = resolve(path);
        self.find_wall(&path, used).or_else(|| self.find_mode(&path, used))
    }

    fn find_wall(&self, path: &Path, used: Use) -> Option<String> {
        let above = self.rights.iter().filter(|(at, ..)| path.starts_with(at));
        let length = |at: &Path| at.components().count();
        let (_, right, by) = above.max_by_key(|(at, right, _)| (length(at), *right))?;
        let shown = path.display();
        let edit = |setting: &str| format!("systemctl edit {UNIT}, [Service] {setting}={shown}");
        match (right, used) {
            (Right::Whole, _) | (Right::ReadOnly, Use::Read | Use::Start) => None,
            (Right::ReadOnly, Use::Write) => {
                Some(format!("{by} makes it read-only in {UNIT}: {}", edit("ReadWritePaths")))
            }
            (Right::Hidden, used) => {
                let home = match used {
                    Use::Read | Use::Start => edit("BindReadOnlyPaths"),
                    Use::Write => edit("BindPaths"),
                };
                Some(format!("{by} keeps it from {UNIT}: move it to another folder, or {home}"))
            }
        }
    }

    fn find_mode(&self, path: &Path, used: Use) -> Option<String> {
        let user = self.user.as_ref().filter(|user| !user.above_modes)?;
        let name = &user.name;
        let owned =
            |at: &PathBuf| fs::metadata(at).is_ok_and(|meta| Uid::from_raw(meta.uid()) == user.uid);
        if self.managed.iter().any(|at| path.starts_with(at) && !owned(at)) {
            return None;
        }
        let there = path.ancestors().find(|at| fs::symlink_metadata(at).is_ok())?;
        for folder in there.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev() {
            if !user.may(folder, 1) {
                let at = folder.display();
                return Some(format!(
                    "{name}, the user of {UNIT}, cannot enter {at}: chgrp {name} {at} && chmod g+x \
                     {at}"
                ));
            }
        }
        let (bits, verb) = match used {
            Use::Read if there != path => return None,
            Use::Start if there != path => return None,
            Use::Read => (4, "read"),
            Use::Start => (1, "start"),
            Use::Write => (3, "write"),
        };
        let at = there.display();
        (!user.may(there, bits)).then(|| match used {
            Use::Start => format!("{name}, the user of {UNIT}, cannot start it: chmod a+rx {at}"),
            Use::Write if there != path => format!(
                "{name}, the user of {UNIT}, cannot make it: install -d -o {name} -m 700 {}",
                path.display()
            ),
            _ => format!("{name}, the user of {UNIT}, cannot {verb} it: chown {name}: {at}"),
        })
    }
}

impl UnitUser {
    /// Tells whether the mode of a file gives these bits (4 read, 2 write, 1 enter or start).
    fn may(&self, path: &Path, bits: u32) -> bool {
        // What cannot be looked at is no finding: only root sees all.
        let Ok(meta) = fs::metadata(path) else { return true };
        let shift = if Uid::from_raw(meta.uid()) == self.uid {
            6
        } else if self.groups.contains(&Gid::from_raw(meta.gid())) {
            3
        } else {
            0
        };
        (meta.mode() >> shift) & bits == bits
    }
}

/// A path as the kernel resolves it, where it is there; and the part of it that is.
pub(super) fn resolve(path: &Path) -> (PathBuf, bool) {
    for at in path.ancestors() {
        if let Ok(real) = fs::canonicalize(at) {
            let rest = path.strip_prefix(at).unwrap_or(Path::new(""));
            let whole = if rest.as_os_str().is_empty() { real } else { real.join(rest) };
            return (whole, at == path);
        }
    }
    (path.to_owned(), false)
}
