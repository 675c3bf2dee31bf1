//! Writing secret files so that a name never shows half a text.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::error::FileError;
use super::read::folder_of;

/// Mode of secret files.
const SECRET_MODE: u32 = 0o600;

/// Writes a new secret file with mode 0600, file and folder on the disk when it returns. Never
/// overwrites; whoever sees the name sees all of the text, also after a crash.
///
/// # Errors
/// [`FileError::Exists`] when something is there already, else what the system said; nothing
/// half-written stays.
pub fn write_new(path: &Path, text: &str) -> Result<(), FileError> {
    if path.symlink_metadata().is_ok() {
        return Err(FileError::Exists(path.to_owned()));
    }
    let new = temp_path(path);
    write_synced(create_temp(&new)?, &new, text)?;
    // Unlike a rename, a link takes nobody's place.
    let linked = fs::hard_link(&new, path);
    let _ = fs::remove_file(&new);
    match linked {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(FileError::Exists(path.to_owned()));
        }
        // Not every file system has links.
        Err(_) => write_synced(create_private(path)?, path, text)?,
    }
    sync_folder(path)
}

/// Replaces a secret file in one step: whoever reads it sees the old text or the new one, also
/// after a crash.
///
/// # Errors
/// What the system said; then the old file is as it was.
pub fn replace(path: &Path, text: &str) -> Result<(), FileError> {
    replace_with(path, |new| new.write_all(text.as_bytes()))
}

/// Replaces a file as [`replace`], by the content of an open file from its beginning. The kernel
/// copies: the secret does not come into this process.
///
/// # Errors
/// As [`replace`].
pub fn replace_by(path: &Path, mut from: &File) -> Result<(), FileError> {
    replace_with(path, |new| {
        from.rewind()?;
        io::copy(&mut from, new).map(drop)
    })
}

fn replace_with(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), FileError> {
    let new = temp_path(path);
    write_synced_with(create_temp(&new)?, &new, write)?;
    fs::rename(&new, path).map_err(|source| {
        let _ = fs::remove_file(&new);
        FileError::from_io(path, source)
    })?;
    sync_folder(path)
}

/// Removes a file, the folder on the disk when it returns.
///
/// # Errors
/// Error that the system gave.
pub fn remove(path: &Path) -> Result<(), FileError> {
    fs::remove_file(path).map_err(|source| FileError::from_io(path, source))?;
    sync_folder(path)
}

/// Makes a folder with mode 0700, with those above it; one that is there already stays as it is.
///
/// # Errors
/// Error that the system gave.
pub fn private_folder(path: &Path) -> Result<(), FileError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| FileError::from_io(path, source))
}

/// Returns where the content lies until it is complete: `FILE.new-PID`.
fn temp_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    PathBuf::from(name)
}

/// Returns true if [`write_new`] or [`replace`] has made a file of this name: one that stays was
/// left by a process that was killed.
#[must_use]
pub fn is_temp_name(name: &str) -> bool {
    let pid = name.rsplit_once(".new-").map(|(_, pid)| pid);
    pid.is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Creates the temporary file. One that exists was left by a process that had our process id.
fn create_temp(new: &Path) -> Result<File, FileError> {
    match create_private(new) {
        Err(FileError::Exists(_)) => {
            fs::remove_file(new).map_err(|source| FileError::from_io(new, source))?;
            create_private(new)
        }
        other => other,
    }
}

/// Creates an empty file of mode 0600 where nothing is, open for reading and writing.
///
/// # Errors
/// [`FileError::Exists`], or what the system said.
pub fn create_private(path: &Path) -> Result<File, FileError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(SECRET_MODE)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits())
        .open(path)
        .map_err(|source| FileError::from_io(path, source))?;
    give_to_folders_owner(&file, path)?;
    Ok(file)
}

/// Gives what root makes in a folder of a lesser user to that user, who must be able to read it and
/// could replace it anyway: the server's, for one. By the descriptor: in such a folder a path may
/// be a link to something else a moment later.
pub(super) fn give_to_folders_owner(file: &File, path: &Path) -> Result<(), FileError> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let failed = |source| FileError::from_io(path, source);
    let folder = fs::metadata(folder_of(path)).map_err(failed)?;
    if folder.uid() != 0 && file.metadata().map_err(failed)?.uid() == 0 {
        fchown(file, Some(folder.uid()), Some(folder.gid())).map_err(failed)?;
    }
    Ok(())
}

fn write_synced(file: File, path: &Path, text: &str) -> Result<(), FileError> {
    write_synced_with(file, path, |file| file.write_all(text.as_bytes()))
}

fn write_synced_with(
    mut file: File,
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), FileError> {
    write(&mut file).and_then(|()| file.sync_all()).map_err(|source| {
        // Half a key is worse than none: it would block the name for the next try.
        let _ = fs::remove_file(path);
        FileError::from_io(path, source)
    })
}

/// Flushes the folder to the disk: after a crash the file's name may be lost although its content
/// is safe.
fn sync_folder(path: &Path) -> Result<(), FileError> {
    let folder = folder_of(path);
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| FileError::from_io(folder, source))
}
