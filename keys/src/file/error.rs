//! Reasons why files are refused, and the commands that fix them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::remedy::{REMEDY_LEAD, write_problem};

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
    /// A symbolic link to what is not there.
    DeadLink {
        /// The link.
        path: PathBuf,
        /// The missing target.
        missing: PathBuf,
    },
    /// A symbolic link to a file that is refused.
    Behind {
        /// The link.
        path: PathBuf,
        /// Fault of the file that it leads to.
        error: Box<Self>,
    },
    /// A folder, device, pipe or socket.
    NotRegular(PathBuf),
    /// A second name of another file.
    Links(PathBuf),
    /// Another process holds its lock.
    Locked(PathBuf),
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

impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io { source, .. } => source,
            FileError::Permission(_) => io::ErrorKind::PermissionDenied.into(),
            other => Self::other(other.to_string()),
        }
    }
}

impl FileError {
    /// Makes an error of what the system said.
    #[must_use]
    pub fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing(path),
            io::ErrorKind::AlreadyExists => Self::Exists(path),
            io::ErrorKind::PermissionDenied => Self::Permission(path),
            io::ErrorKind::IsADirectory => Self::NotRegular(path),
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
                format!(
                    "{at} is a symbolic link, which is not followed here; name the file itself: \
                     readlink -f {at}"
                )
            }
            Self::DeadLink { missing, .. } => format!(
                "{at} is a link that leads nowhere: put back {}, or name the file itself",
                missing.display()
            ),
            Self::Behind { error, .. } => {
                format!("{at} is a symbolic link, and {}", error.problem())
            }
            Self::NotRegular(_) => {
                format!("{at} is not a regular file: move it away, or name another")
            }
            Self::Links(_) => format!(
                "{at} is a hard link to another file, which is left as it is; remove it: rm {at}"
            ),
            Self::Locked(_) => {
                format!("{at} is held by another process: try again when it is done")
            }
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
            | Self::Links(path)
            | Self::Locked(path)
            | Self::NotText(path)
            | Self::DeadLink { path, .. }
            | Self::Behind { path, .. }
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
            Self::Symlink(_)
            | Self::DeadLink { .. }
            | Self::NotRegular(_)
            | Self::Links(_)
            | Self::Large { .. }
            | Self::NotText(_) => crate::exit::CONFIG,
            Self::Behind { error, .. } => error.exit_code(),
            _ => crate::exit::FAILURE,
        }
    }
}
