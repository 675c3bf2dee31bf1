//! The one place where files that a privileged process trusts are opened, and secret files written.

use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use zeroize::Zeroizing;

use crate::remedy::{REMEDY_LEAD, write_problem};
use crate::text::SecretText;

/// The largest file that [`read_secret`] takes, in bytes.
pub const MAX_SECRET_FILE: u64 = 64 * 1024;

/// Mode of secret files.
const SECRET_MODE: u32 = 0o600;

/// Reason why a file is refused or could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It is not there.
    Missing(PathBuf),
    /// It is there already, and secrets are never overwritten.
    Exists(PathBuf),
    /// The kernel says no.
    Permission(PathBuf),
    /// A symbolic link: whoever can change the link chooses the content.
    Symlink(PathBuf),
    /// A folder, device, pipe or socket.
    NotRegular(PathBuf),
    /// Somebody else owns it and could change it.
    Owner {
        /// The file.
        path: PathBuf,
        /// User id of the owner.
        owner: u32,
        /// Effective user id of this process.
        us: u32,
    },
    /// Others may read or write it.
    Mode {
        /// The file.
        path: PathBuf,
        /// Permission bits of the file.
        mode: u32,
    },
    /// Others may write it.
    Writable {
        /// The file.
        path: PathBuf,
        /// Permission bits of the file.
        mode: u32,
    },
    /// Larger than its kind ever is.
    Large {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// Not UTF-8.
    NotText(PathBuf),
    /// Anything else.
    Io {
        /// The file.
        path: PathBuf,
        /// Error that the system gave.
        source: io::Error,
    },
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_problem(f, &self.problem(), REMEDY_LEAD, self.remedy().as_deref())
    }
}

impl FileError {
    fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing(path),
            io::ErrorKind::AlreadyExists => Self::Exists(path),
            io::ErrorKind::PermissionDenied => Self::Permission(path),
            _ if source.raw_os_error() == Some(nix::libc::ELOOP) => Self::Symlink(path),
            _ => Self::Io { path, source },
        }
    }

    /// Describes what is wrong with the file, without the remedy.
    #[must_use]
    pub fn problem(&self) -> String {
        let at = self.path().display();
        match self {
            Self::Missing(_) => format!("{at} does not exist"),
            Self::Exists(_) => format!(
                "{at} exists already and is never overwritten; to make a new one, first: mv {at} \
                 {at}.old"
            ),
            Self::Permission(_) => {
                format!("no permission for {at}: run this as the file's owner, see: ls -l {at}")
            }
            Self::Symlink(_) => {
                format!("{at} is a symbolic link; name the file itself: readlink -f {at}")
            }
            Self::NotRegular(_) => format!("{at} is not a regular file"),
            Self::Owner { owner, .. } => {
                format!("{at} belongs to user {owner}, who could change it")
            }
            Self::Mode { mode, .. } => format!("others may use {at} (mode {mode:04o})"),
            Self::Writable { mode, .. } => format!("others may change {at} (mode {mode:04o})"),
            Self::Large { limit, .. } => {
                format!("{at} is larger than {limit} bytes: this is not the file that was meant")
            }
            Self::NotText(_) => format!("{at} is not a text file"),
            Self::Io { source, .. } => format!("{at}: {source}"),
        }
    }

    /// Returns the shell command that repairs it.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        let at = self.path().display();
        match self {
            Self::Owner { us, .. } => Some(format!("sudo chown {us} {at}")),
            Self::Mode { .. } => Some(format!("chmod 600 {at}")),
            Self::Writable { .. } => Some(format!("chmod go-w {at}")),
            _ => None,
        }
    }

    /// Returns the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Missing(path)
            | Self::Exists(path)
            | Self::Permission(path)
            | Self::Symlink(path)
            | Self::NotRegular(path)
            | Self::NotText(path)
            | Self::Owner { path, .. }
            | Self::Mode { path, .. }
            | Self::Writable { path, .. }
            | Self::Large { path, .. }
            | Self::Io { path, .. } => path,
        }
    }

    /// Returns the exit code for it, see [`crate::exit`].
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Permission(_)
            | Self::Owner { .. }
            | Self::Mode { .. }
            | Self::Writable { .. } => crate::exit::PERMISSION,
            Self::Symlink(_) | Self::NotRegular(_) | Self::Large { .. } | Self::NotText(_) => {
                crate::exit::CONFIG
            }
            _ => crate::exit::FAILURE,
        }
    }
}

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

fn check_owner(path: &Path, meta: &Metadata) -> Result<(), FileError> {
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
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::symlink_metadata(folder).is_ok_and(|meta| meta.is_dir() && meta.uid() == owner)
}

/// Tells whether systemd put it there: the folder is made for one unit, and only root writes to it.
fn in_credentials(path: &Path) -> bool {
    let own = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty());
    path.starts_with("/run/credentials") || own.is_some_and(|dir| path.starts_with(dir))
}

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
    let size = file.metadata().map_or(0, |meta| meta.len()).min(limit);
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
        Err(_) => write_synced(create_exclusive(path)?, path, text)?,
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

/// Creates the temporary file. One that exists was left by a process that had our process id.
fn create_temp(new: &Path) -> Result<File, FileError> {
    match create_exclusive(new) {
        Err(FileError::Exists(_)) => {
            fs::remove_file(new).map_err(|source| FileError::from_io(new, source))?;
            create_exclusive(new)
        }
        other => other,
    }
}

fn create_exclusive(path: &Path) -> Result<File, FileError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(SECRET_MODE)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits())
        .open(path)
        .map_err(|source| FileError::from_io(path, source))
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
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| FileError::from_io(folder, source))
}
