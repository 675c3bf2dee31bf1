//! Check that no file which decides lies where the process that reads strangers' bytes may write:
//! compromised, it would write its own configuration, clients or hooks, and the broker would
//! believe them.
//!
//! Paths are compared as the kernel resolves them, so neither `..` nor a link nor a second mount
//! hides where a file is.

use spa_keys::Severity;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::{Config, EnforcerKind, Findings, SecretFile};

/// Finds what is wrong with the places that a configuration, read from `path`, gives to files and
/// folders. Looks at the disk.
pub(crate) fn check_separation(path: &Path, config: &Config) -> Findings {
    let mut findings = Findings::default();
    let textfile = config.metrics.textfile.as_deref().and_then(Path::parent);
    let written =
        [("[server] state", Some(config.server.state.as_path())), ("[metrics] textfile", textfile)];
    let written: Vec<_> =
        written.into_iter().filter_map(|(key, at)| Some((key, at?, PathRole::of(at?)))).collect();
    for (what, file) in list_deciding_paths(path, config) {
        let place = PathRole::of(&file);
        if let Some((key, folder, _)) =
            written.iter().find(|(_, _, folder)| place.is_beneath(folder))
        {
            findings.append(Findings::of_file(
                &path.display().to_string(),
                Severity::Error,
                format!(
                    "{what} {} lies in {}, where the process that reads packets may write because \
                     of {key}: give {key} a folder of its own",
                    file.display(),
                    folder.display()
                ),
            ));
        }
    }
    findings
}

/// Everything that the broker believes, and what each is called.
fn list_deciding_paths(path: &Path, config: &Config) -> Vec<(&'static str, PathBuf)> {
    let secret = |file: &SecretFile| match file {
        SecretFile::File(path) => Some(path.clone()),
        // systemd's folder for them is read-only.
        SecretFile::Credential(_) => None,
    };
    let mut all = vec![("the configuration", path.to_owned())];
    all.extend(secret(&config.server.key).map(|key| ("the server's key", key)));
    all.extend(secret(&config.server.clients).map(|clients| ("the clients' file", clients)));
    all.push(("the broker's folder", super::paths::broker_folder(&config.server.state)));
    let hooks =
        config.services.iter().flat_map(|service| [&service.on_open, &service.on_close]).flatten();
    all.extend(hooks.filter_map(|hook| Some(("the hook", PathBuf::from(hook.run.first()?)))));
    all.extend(config.enforcers.iter().filter_map(|enforcer| match &enforcer.kind {
        EnforcerKind::Exec { command, .. } => {
            Some(("the enforcer's program", PathBuf::from(command.first()?)))
        }
    }));
    all
}

/// Location of a file that exists, or will.
struct PathRole {
    path: PathBuf,
    /// Device and inode of it and of each folder above it that is there.
    nodes: Vec<(u64, u64)>,
    /// The first of `nodes` is the thing itself.
    is_there: bool,
}

impl PathRole {
    fn of(path: &Path) -> Self {
        let path = resolve_path(path);
        let node = |path: &Path| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
        Self {
            nodes: path.ancestors().filter_map(node).collect(),
            is_there: node(&path).is_some(),
            path,
        }
    }

    fn is_beneath(&self, folder: &Self) -> bool {
        let same = folder
            .nodes
            .first()
            .filter(|_| folder.is_there)
            .is_some_and(|node| self.nodes.contains(node));
        same || self.path.starts_with(&folder.path)
    }
}

/// The path without links and `..`, as far as it is there.
fn resolve_path(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut missing: Vec<OsString> = Vec::new();
    let mut there = whole.as_path();
    loop {
        if let Ok(found) = fs::canonicalize(there) {
            let tail = missing.iter().rev().map(Path::new);
            return tail.fold(found, |path, name| match name.components().next() {
                // Behind what is not there a `..` can only be taken by its word.
                Some(Component::ParentDir) => path.parent().map(Path::to_owned).unwrap_or(path),
                _ => path.join(name),
            });
        }
        match (there.parent(), there.components().next_back()) {
            (Some(parent), Some(last)) => {
                missing.push(last.as_os_str().to_owned());
                there = parent;
            }
            _ => return whole,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::symlink;

    use super::{PathRole, resolve_path};

    #[test]
    fn a_place_is_found_behind_dots_and_links_and_before_it_is_made() {
        let base = std::env::temp_dir().join(format!("spa-apart-{}", std::process::id()));
        std::fs::create_dir_all(base.join("written/below")).unwrap();
        std::fs::create_dir_all(base.join("apart")).unwrap();
        symlink(base.join("written"), base.join("apart/link")).unwrap();
        let beneath = |file: &str, folder: &str| {
            PathRole::of(&base.join(file)).is_beneath(&PathRole::of(&base.join(folder)))
        };
        for (file, folder, is) in [
            ("written/file", "written", true),
            ("written/below/file", "written", true),
            ("apart/file", "written", false),
            ("written/../apart/file", "written", false),
            ("apart/../written/file", "written", true),
            ("apart/link/file", "written", true),
            ("written/file", "apart/link", true),
            ("apart/link/below/new/file", "written", true),
            ("new/file", "new", true),
            ("new/../apart/file", "new", false),
            ("written-broker/file", "written", false),
        ] {
            assert_eq!(beneath(file, folder), is, "{file} in {folder}");
        }
        assert_eq!(
            resolve_path(&base.join("none/../apart/x")),
            base.canonicalize().unwrap().join("apart/x")
        );
        std::fs::remove_dir_all(&base).unwrap();
    }
}
