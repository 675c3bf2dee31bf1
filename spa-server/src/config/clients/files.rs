//! Replacing a file so that at every moment, crash and full disk included, either the old or the
//! new content is there as a whole.
//!
//! The folder may belong to a lesser user than the one who runs this: no link is followed, and
//! owner and mode go by descriptors.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use spa_keys::file::{self, FileError, FileLock};
use zeroize::Zeroizing;

use super::super::key_files::CLIENTS_LIMIT;

/// The right to write one file, held until dropped. The lock is on a file beside it: a lock on the
/// file itself would be lost with each rename.
pub(in crate::config) struct Writer {
    target: PathBuf,
    /// The file as it was read.
    old: Option<OldFile>,
    _lock: FileLock,
}

struct OldFile {
    content: Zeroizing<Vec<u8>>,
    meta: Metadata,
}

impl Writer {
    /// Waits until no other process writes `path`, and reads it.
    pub(in crate::config) fn lock(path: &Path) -> Result<Self, FileError> {
        Self::open(path, FileLock::wait)
    }

    /// Opens it as [`Writer::lock`]; an error when another process writes at this moment.
    pub(super) fn try_lock(path: &Path) -> Result<Self, FileError> {
        Self::open(path, FileLock::try_take)
    }

    fn open(
        path: &Path,
        take: impl Fn(&Path) -> Result<FileLock, FileError>,
    ) -> Result<Self, FileError> {
        let target =
            std::path::absolute(path).map_err(|source| FileError::from_io(path, source))?;
        let lock = take(&sibling_path(&target, ".lock"))?;
        Ok(Self { old: read_file(&target)?, target, _lock: lock })
    }

    /// The content; `None` when there is no file.
    pub(in crate::config) fn content(&self) -> Option<&[u8]> {
        self.old.as_ref().map(|old| old.content.as_slice())
    }

    /// Replaces the content. When it answers, the new content is on the disk under its name.
    pub(super) fn replace(&self, content: &[u8]) -> Result<(), FileError> {
        self.replace_by(content, false)
    }

    /// The same, and the file's mode stays: for what is no secret.
    pub(in crate::config) fn replace_as_it_was(&self, content: &[u8]) -> Result<(), FileError> {
        self.replace_by(content, true)
    }

    fn replace_by(&self, content: &[u8], keep_mode: bool) -> Result<(), FileError> {
        let fresh = sibling_path(&self.target, ".new");
        // Left over from a crash: nobody else writes it while we hold the lock.
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::from_io(&fresh, error));
            }
            _ => {}
        }
        let written = self
            .write(&fresh, content, keep_mode)
            .and_then(|()| self.check_unchanged())
            .and_then(|()| {
                fs::rename(&fresh, &self.target)
                    .map_err(|error| FileError::from_io(&self.target, error))
            });
        if written.is_err() {
            // The first error is the one to tell; a leftover is removed the next time.
            let _ = fs::remove_file(&fresh);
        }
        written?;
        let folder = self.target.parent().unwrap_or(Path::new("/"));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| FileError::from_io(folder, error))
    }

    /// Checks that the file is as it was read. An editor takes no lock of ours: what somebody has
    /// saved meanwhile must not be lost.
    fn check_unchanged(&self) -> Result<(), FileError> {
        let now = read_file(&self.target)?;
        if now.as_ref().map(|now| &now.content) == self.old.as_ref().map(|old| &old.content) {
            return Ok(());
        }
        let text = "somebody else has changed it at this moment: try again";
        Err(FileError::from_io(&self.target, io::Error::other(text)))
    }

    fn write(&self, fresh: &Path, content: &[u8], keep_mode: bool) -> Result<(), FileError> {
        // A new file that root makes belongs to whom its folder belongs: the daemon's user must be
        // able to read it. Others cannot give files away, and need not.
        let mut file = file::create_private(fresh)?;
        let failed = |error| FileError::from_io(fresh, error);
        if let Some(OldFile { meta: old, .. }) = &self.old {
            let new = file.metadata().map_err(failed)?;
            // A file that belongs to the daemon's user must still do so when root has edited it.
            if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                match fchown(&file, Some(old.uid()), Some(old.gid())) {
                    // A user who keeps the owner may not give it to a foreign group; mode 0600
                    // makes that no matter.
                    Err(error)
                        if error.kind() == io::ErrorKind::PermissionDenied
                            && old.uid() == new.uid() => {}
                    other => other.map_err(failed)?,
                }
            }
            if keep_mode {
                let mode = Permissions::from_mode(old.mode() & 0o777);
                file.set_permissions(mode).map_err(failed)?;
            }
        }
        file.write_all(content).and_then(|()| file.sync_all()).map_err(failed)
    }
}

fn read_file(path: &Path) -> Result<Option<OldFile>, FileError> {
    let file = match file::open_trusted(path) {
        Err(FileError::Missing(_)) => return Ok(None),
        other => other?,
    };
    let meta = file.metadata().map_err(|error| FileError::from_io(path, error))?;
    let content = Zeroizing::new(file::read_opened_bytes(path, file, CLIENTS_LIMIT)?);
    Ok(Some(OldFile { content, meta }))
}

/// `.NAME.lock` and the like, in the folder of `path`.
fn sibling_path(path: &Path, suffix: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{suffix}"))
}
