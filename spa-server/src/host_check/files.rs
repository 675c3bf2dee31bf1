//! Files with secrets, with the eyes of the user that the server runs as.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};
use spa_keys::{Severity, file};

use super::{HostFinding, HostSubject};
use crate::config::clients::enrolled_file;
use crate::config::{Config, SecretFile, is_numbered_alike};

/// Bits of a mode: the group, and everybody else, may read.
const GROUP_READS: u32 = 0o040;
const OTHERS_READ: u32 = 0o004;

/// Finds files that root can read and the server cannot. The server runs as the owner of the folder
/// that they lie in: so the unit's folders are made, and so root's commands make new files.
pub(super) fn check_files(config: &Config) -> Vec<HostFinding> {
    let previous = config.server.previous.as_ref().map(|previous| &previous.file);
    let files = [Some(&config.server.key), previous, Some(&config.server.clients)];
    let paths = files.into_iter().flatten().filter_map(|file| match file {
        SecretFile::File(path) => Some(path.as_path()),
        SecretFile::Credential(_) => None,
    });
    paths.filter_map(check_file).collect()
}

/// Finds what commands have left behind that were killed, and keys of the server that nothing
/// names: each may be a secret that nobody looks after.
pub(super) fn find_leftovers(config: &Config) -> Vec<HostFinding> {
    let of_file = |file: &SecretFile| match file {
        SecretFile::File(path) => Some(path.clone()),
        SecretFile::Credential(_) => None,
    };
    let key = of_file(&config.server.key);
    let previous = config.server.previous.as_ref().and_then(|previous| of_file(&previous.file));
    let state = &config.server.state;
    let files = [key.clone(), of_file(&config.server.clients), Some(enrolled_file(state))];
    let parents = files.iter().flatten().filter_map(|file| file.parent());
    let folders: BTreeSet<&Path> = parents.chain([state.as_path()]).collect();
    let entries = folders.into_iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let is_old_key = |path: &Path| {
        key.as_deref().is_some_and(|key| is_numbered_alike(path, key))
            && ![&key, &previous].iter().any(|named| named.as_deref() == Some(path))
    };
    let tell = |path: PathBuf| {
        let why = if is_temporary(&path) {
            "was left by a command that was interrupted, and may hold a secret"
        } else if is_old_key(&path) {
            "is no key of this server: it was replaced, or a rotate-key that was interrupted has \
             made it; when no backup needs it"
        } else {
            return None;
        };
        let text = format!("{path} {why}: rm {path}", path = path.display());
        Some(HostFinding::new(Severity::Warning, HostSubject::File, text))
    };
    paths.into_iter().filter_map(tell).collect()
}

/// Names of files that are being written: `FILE.new-PID`, and `.FILE.new` beside a lock.
fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    file::is_temp_name(&name) || (name.starts_with('.') && name.ends_with(".new"))
}

fn check_file(path: &Path) -> Option<HostFinding> {
    let (file, folder) = (fs::metadata(path).ok()?, fs::metadata(path.parent()?).ok()?);
    let by_group = file.gid() == folder.gid() && file.mode() & GROUP_READS != 0;
    let readable = folder.uid() == 0
        || file.uid() == folder.uid()
        || by_group
        || file.mode() & OTHERS_READ != 0;
    let name = |uid: u32| match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    };
    (!readable).then(|| {
        let (owner, server, path) = (name(file.uid()), name(folder.uid()), path.display());
        HostFinding::new(
            Severity::Error,
            HostSubject::File,
            format!(
                "{path} belongs to {owner}, and a server that runs as {server}, to whom the folder \
                 belongs, cannot read it: chown {server}: {path}"
            ),
        )
    })
}
