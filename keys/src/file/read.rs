//! Opening and reading files with checks of owner, mode, kind and size.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;
use zeroize::Zeroizing;

use super::error::FileError;
use crate::text::SecretText;

/// The largest file that [`read_secret`] takes, in bytes.
pub const MAX_SECRET_FILE: u64 = 64 * 1024;

/// Reads a secret file of at most [`MAX_SECRET_FILE`] bytes.
///
/// Refused: symbolic links, whatever is no regular file, files that others own, read or write.
/// Owned by root is fine; for root, owned by the owner of the folder is fine too. Below systemd's
/// credentials folder mode 0440 is fine too: there the group bits are an access list's mask
/// (systemd.exec(5), "LoadCredential").
///
/// # Errors
/// [`FileError`], with the command that fixes it.
pub fn read_secret(path: &Path) -> Result<SecretText, FileError> {
    read_secret_up_to(path, MAX_SECRET_FILE)
}

/// Reads a secret file as [`read_secret`], with another size limit in bytes.
///
/// # Errors
/// As [`read_secret`].
pub fn read_secret_up_to(path: &Path, limit: u64) -> Result<SecretText, FileError> {
    read_opened(path, open_secret(path)?, limit)
}

/// Opens a secret file with the checks of [`read_secret`], to be read by [`read_opened`], perhaps
/// in another process.
///
/// # Errors
/// As [`read_secret`], but for its size and text.
pub fn open_secret(path: &Path) -> Result<File, FileError> {
    // Asked of the open file, not of the path: a path can be swapped between two questions.
    let (file, meta) = open_regular(path, OFlag::O_NOFOLLOW)?;
    check_owner(path, &meta)?;
    let mode = meta.mode() & 0o7777;
    let credential = mode == 0o440 && in_credentials(path);
    if mode & 0o077 != 0 && !credential {
        return Err(FileError::Mode { path: path.to_owned(), mode });
    }
    Ok(file)
}

/// Opens a file that is no secret but decides what a privileged process does, as its configuration:
/// a regular file, no symbolic link, that nobody but us, root and (for root) the owner of its
/// folder can change.
///
/// # Errors
/// [`FileError`], with the command that fixes it.
pub fn open_trusted(path: &Path) -> Result<File, FileError> {
    let (file, meta) = open_regular(path, OFlag::O_NOFOLLOW)?;
    check_owner(path, &meta)?;
    let mode = meta.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(FileError::Writable { path: path.to_owned(), mode });
    }
    Ok(file)
}

/// Reads a file that [`open_secret`] or [`open_trusted`] opened; `path` is for errors.
///
/// # Errors
/// It is larger than `limit` bytes, no text, or cannot be read.
pub fn read_opened(path: &Path, file: File, limit: u64) -> Result<SecretText, FileError> {
    read_bounded(path, file, limit)
}

/// Reads a file that is no secret but decides what we do, as a user's settings: a regular file that
/// nobody but us, root and (for root) the owner of its folder can change; links are followed.
///
/// # Errors
/// [`FileError`], with the command that fixes it.
pub fn read_settings(path: &Path, limit: u64) -> Result<String, FileError> {
    let (file, meta) = open_regular(path, OFlag::empty())?;
    check_owner(path, &meta)?;
    let mode = meta.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(FileError::Writable { path: path.to_owned(), mode });
    }
    read_bounded(path, file, limit).map(|text| text.expose().to_owned())
}

/// Reads a file that is no secret and only informs: any owner and mode, but a regular file within
/// the limit.
///
/// # Errors
/// [`FileError`].
pub fn read_public(path: &Path, limit: u64) -> Result<String, FileError> {
    let (file, _) = open_regular(path, OFlag::empty())?;
    read_bounded(path, file, limit).map(|text| text.expose().to_owned())
}

/// Reads a file as [`read_public`], whatever the bytes are.
///
/// # Errors
/// [`FileError`].
pub fn read_public_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let (file, _) = open_regular(path, OFlag::empty())?;
    read_opened_bytes(path, file, limit)
}

/// Opens a regular file for reading.
fn open_regular(path: &Path, more: OFlag) -> Result<(File, Metadata), FileError> {
    let file = OpenOptions::new()
        .read(true)
        // NONBLOCK: somebody's named pipe must not hang us before it is refused.
        .custom_flags((more | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
        .open(path)
        .map_err(|source| FileError::from_io(path, source))?;
    let meta = file.metadata().map_err(|source| FileError::from_io(path, source))?;
    if !meta.is_file() {
        return Err(FileError::NotRegular(path.to_owned()));
    }
    Ok((file, meta))
}

/// Refuses files that others than us, root and (for root) the owner of the folder own.
pub(super) fn check_owner(path: &Path, meta: &Metadata) -> Result<(), FileError> {
    let us = nix::unistd::geteuid().as_raw();
    let owner = meta.uid();
    if owner != us && owner != 0 && !(us == 0 && owns_folder(owner, path)) {
        return Err(FileError::Owner { path: path.to_owned(), owner, us });
    }
    Ok(())
}

/// Tells whether the file's owner owns its folder too. Root accepts that: a server that runs as its
/// own user keeps its files in its own folder, where it could replace them anyway, and root
/// administers it.
fn owns_folder(owner: u32, path: &Path) -> bool {
    std::fs::symlink_metadata(folder_of(path))
        .is_ok_and(|meta| meta.is_dir() && meta.uid() == owner)
}

/// Returns the folder that a file lies in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Tells whether systemd put it there: the folder is made for one unit, and only root writes to it.
fn in_credentials(path: &Path) -> bool {
    let own = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty());
    path.starts_with("/run/credentials") || own.is_some_and(|dir| path.starts_with(dir))
}

/// Reads a text of at most `limit` bytes.
fn read_bounded(path: &Path, file: File, limit: u64) -> Result<SecretText, FileError> {
    match String::from_utf8(read_opened_bytes(path, file, limit)?) {
        Ok(text) => Ok(SecretText::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(FileError::NotText(path.to_owned()))
        }
    }
}

/// Reads an open file as [`read_opened`], whatever the bytes are.
///
/// # Errors
/// It is larger than `limit` bytes, or cannot be read.
pub fn read_opened_bytes(path: &Path, file: File, limit: u64) -> Result<Vec<u8>, FileError> {
    let size = file.metadata().map_or(0, |meta| meta.len());
    // A sparse file of terabytes costs its maker nothing.
    if size > limit {
        return Err(FileError::Large { path: path.to_owned(), limit });
    }
    let room = usize::try_from(size).unwrap_or(0) + 2;
    // All room at once: a growing buffer would leave unwiped copies of the secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| FileError::from_io(path, source))?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > limit) {
        return Err(FileError::Large { path: path.to_owned(), limit });
    }
    Ok(std::mem::take(&mut *bytes))
}
