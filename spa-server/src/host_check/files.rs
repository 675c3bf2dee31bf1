//! Files with secrets, with the eyes of the user that the server runs as.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::{Uid, User};
use spa_keys::Severity;

use super::{HostFinding, HostSubject};
use crate::config::{Config, SecretFile};

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
