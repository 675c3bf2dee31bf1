//! Locks between processes: a file beside the one that is written, or an open file itself.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};

use super::error::FileError;
use super::read::check_owner;
use super::write::{create_private, give_to_folders_owner};

/// A lock, held until dropped.
#[derive(Debug)]
pub struct FileLock(Option<Flock<File>>);

impl FileLock {
    /// Opens a lock file, which is made if it is not there, and waits until no other process holds
    /// it. The file stays: removing it would let two processes hold a lock each.
    ///
    /// # Errors
    /// Something else is in its place, or what the system said.
    pub fn wait(path: &Path) -> Result<Self, FileError> {
        Self::of_open(path, open_lock_file(path)?, FlockArg::LockExclusive)
    }

    /// Takes a lock as [`FileLock::wait`], without waiting.
    ///
    /// # Errors
    /// [`FileError::Locked`] when another process holds it; else as [`FileLock::wait`].
    pub fn try_take(path: &Path) -> Result<Self, FileError> {
        Self::of_open(path, open_lock_file(path)?, FlockArg::LockExclusiveNonblock)
    }

    /// Locks an open file or folder itself; `path` is for errors.
    ///
    /// # Errors
    /// As [`FileLock::try_take`].
    pub fn of_open(path: &Path, file: File, how: FlockArg) -> Result<Self, FileError> {
        Flock::lock(file, how).map(|lock| Self(Some(lock))).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => FileError::Locked(path.to_owned()),
            other => {
                let text = format!("it cannot be locked: {}", io::Error::from(other));
                let source = io::Error::new(io::Error::from(other).kind(), text);
                FileError::from_io(path, source)
            }
        })
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Dropping a lock that the file system does not give back would panic; it ends with the
        // process.
        if let Some(Err((lock, _))) = self.0.take().map(Flock::unlock) {
            std::mem::forget(lock);
        }
    }
}

/// Opens a lock file. In a folder of a lesser user root must neither follow a link, which would
/// make a file or give one away, nor give away what was there already.
fn open_lock_file(path: &Path) -> Result<File, FileError> {
    match create_private(path) {
        Err(FileError::Exists(_)) => {}
        made => return made,
    }
    let flags = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags.bits())
        .open(path)
        .map_err(|source| FileError::from_io(path, source))?;
    let meta = file.metadata().map_err(|source| FileError::from_io(path, source))?;
    if !meta.is_file() {
        return Err(FileError::NotRegular(path.to_owned()));
    }
    if meta.nlink() != 1 {
        return Err(FileError::Links(path.to_owned()));
    }
    check_owner(path, &meta)?;
    // Left by a crash between making it and giving it away. A lock file is empty: one with content
    // is another file of root's that was moved here.
    if meta.len() == 0 {
        give_to_folders_owner(&file, path)?;
    }
    Ok(file)
}
