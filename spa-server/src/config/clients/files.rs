//! Replacing a file so that at every moment, crash and full disk included, either the old or the
//! new content is there as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;

/// The right to write one file, held until dropped. The lock is on a file beside it that stays: a
/// lock on the file itself would be lost with each rename, and removing the lock file would let two
/// writers hold a lock each.
pub(in crate::config) struct Writer {
    target: PathBuf,
    folder: PathBuf,
    _lock: Flock<File>,
}

impl Writer {
    /// Waits until no other process writes `path`. A symbolic link is followed, so that the file it
    /// points at is replaced and not the link.
    pub(in crate::config) fn lock(path: &Path) -> io::Result<Self> {
        Self::locked(path, FlockArg::LockExclusive)
    }

    /// As [`Writer::lock`], but an error when another process writes at this moment.
    pub(super) fn try_lock(path: &Path) -> io::Result<Self> {
        Self::locked(path, FlockArg::LockExclusiveNonblock)
    }

    fn locked(path: &Path, how: FlockArg) -> io::Result<Self> {
        let target = match fs::canonicalize(path) {
            Ok(target) => target,
            Err(e) if e.kind() == io::ErrorKind::NotFound => std::path::absolute(path)?,
            Err(e) => return Err(e),
        };
        let folder = target.parent().map(Path::to_path_buf).unwrap_or_else(|| PathBuf::from("/"));
        let lock = private().create(true).truncate(false).open(beside(&target, ".lock"))?;
        if geteuid().is_root() {
            // Made by root's command, needed by the daemon's user.
            let of = fs::metadata(&folder)?;
            fchown(&lock, Some(of.uid()), Some(of.gid()))?;
        }
        let lock = Flock::lock(lock, how).map_err(|(_, e)| io::Error::from(e))?;
        Ok(Self { target, folder, _lock: lock })
    }

    /// The content now; `None` when there is no file.
    pub(in crate::config) fn read(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(&self.target) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Replaces the content. When it answers, the new content is on the disk under its name.
    pub(super) fn replace(&self, content: &[u8]) -> io::Result<()> {
        self.replace_by(content, false)
    }

    /// The same, and the file's mode stays: for what is no secret.
    pub(in crate::config) fn replace_as_it_was(&self, content: &[u8]) -> io::Result<()> {
        self.replace_by(content, true)
    }

    fn replace_by(&self, content: &[u8], keep_mode: bool) -> io::Result<()> {
        let fresh = beside(&self.target, ".new");
        // Left over from a crash: nobody else writes it while we hold the lock.
        match fs::remove_file(&fresh) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let written =
            self.write(&fresh, content, keep_mode).and_then(|()| fs::rename(&fresh, &self.target));
        if written.is_err() {
            // The first error is the one to tell; a leftover is removed the next time.
            let _ = fs::remove_file(&fresh);
        }
        written?;
        File::open(&self.folder)?.sync_all()
    }

    fn write(&self, fresh: &Path, content: &[u8], keep_mode: bool) -> io::Result<()> {
        let mut file = private().create_new(true).open(fresh)?;
        // A new file that root makes belongs to whom its folder belongs: the daemon's user must be
        // able to read it. Others cannot give files away, and need not.
        let of_folder =
            |error| if geteuid().is_root() { fs::metadata(&self.folder) } else { Err(error) };
        if let Ok(old) = fs::metadata(&self.target).or_else(of_folder) {
            let new = file.metadata()?;
            // A file that belongs to the daemon's user must still do so when root has edited it.
            if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                match fchown(&file, Some(old.uid()), Some(old.gid())) {
                    // A user who keeps the owner may not give it to a foreign group; mode 0600
                    // makes that no matter.
                    Err(e)
                        if e.kind() == io::ErrorKind::PermissionDenied
                            && old.uid() == new.uid() => {}
                    other => other?,
                }
            }
        }
        if keep_mode && let Ok(old) = fs::metadata(&self.target) {
            file.set_permissions(old.permissions())?;
        }
        file.write_all(content)?;
        file.sync_all()
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// `.NAME.lock` and the like, in the folder of `path`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{suffix}"))
}
