//! The folder with a client's files: `$XDG_CONFIG_HOME/spa`, or `~/.config/spa`.
//!
//! ```text
//! identity          the client's key file
//! hosts/NAME.host   0600; comments, then the enrolment line
//! hosts/NAME.seen   when it last answered, see `Seen`
//! hosts/CHECK.key   a rotated key, see `Folder::key_of`
//! config.toml       optional settings per host, see spa-client
//! ```

use std::fmt;
use std::path::{Path, PathBuf};

use crate::enrolment::host_line::{HostError, HostLine};
use crate::file::{self, FileError};
use crate::printable;

/// A client's folder. It need not exist yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

/// Reason why the folder or a host in it cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// Neither `XDG_CONFIG_HOME` nor `HOME` tells where it is.
    #[error("neither XDG_CONFIG_HOME nor HOME is set, so there is no folder for keys")]
    NoHome,
    /// The name cannot be a file's name.
    #[error("`{}` is not a name for a host: use letters, digits and . - _ : and begin with a \
        letter or digit", printable(.0))]
    Name(String),
    /// Not enrolled.
    #[error("{0}")]
    NoHost(UnknownHost),
    /// Several enrolment lines claim a name, and no name of the user's own decides.
    #[error("`{}` stands in the enrolments of {}: say which one you mean", printable(.name),
        .hosts.join(" and "))]
    Ambiguous {
        /// Name as given.
        name: String,
        /// Hosts by their own names.
        hosts: Vec<String>,
    },
    /// The file itself.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not exactly one line in the host's file.
    #[error("{} holds {found} lines, but must hold exactly one", .path.display())]
    Count {
        /// The file.
        path: PathBuf,
        /// Lines that are neither empty nor comments.
        found: usize,
    },
    /// A line of it cannot be read.
    #[error("{}:{line}: {error}", .path.display())]
    Host {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Reason why the line is refused.
        error: HostError,
    },
}

/// Name of a host that is not enrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownHost {
    /// Name as given.
    pub name: String,
    /// Suggestion, see [`crate::did_you_mean`]; empty when there is none.
    pub near: String,
}

impl fmt::Display for UnknownHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, near } = self;
        write!(f, "there is no host `{name}`{near}")?;
        if near.is_empty() {
            write!(f, "; take its enrolment line with: spa host add - --name {name}")?;
        }
        Ok(())
    }
}

impl FolderError {
    /// Returns the exit code for it, see [`crate::exit`].
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Name(_) => crate::exit::USAGE,
            Self::NoHost(_) => crate::exit::NOTHING_SENT,
            Self::File(error) => error.exit_code(),
            Self::Ambiguous { .. } => crate::exit::USAGE,
            Self::NoHome | Self::Count { .. } | Self::Host { .. } => crate::exit::CONFIG,
        }
    }
}

/// Checks the name of a host: it becomes a file's name, so no slash and no leading dot.
///
/// # Errors
/// [`FolderError::Name`].
pub fn check_host_name(name: &str) -> Result<(), FolderError> {
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == ':');
    let plain =
        name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':'));
    if begins_well && plain && name.len() <= 200 {
        Ok(())
    } else {
        Err(FolderError::Name(name.to_owned()))
    }
}

impl Folder {
    /// Names a folder other than the user's own.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Finds the user's own folder.
    ///
    /// # Errors
    /// [`FolderError::NoHome`].
    pub fn of_user() -> Result<Self, FolderError> {
        let absolute =
            |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        // A relative XDG_CONFIG_HOME is to be ignored (XDG Base Directory Specification).
        let config = absolute("XDG_CONFIG_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".config")));
        Ok(Self(config.ok_or(FolderError::NoHome)?.join("spa")))
    }

    /// Returns the path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the path of the default key file.
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.0.join("identity")
    }

    /// Returns the path of the settings.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    /// Returns the path of the folder of hosts.
    #[must_use]
    pub fn hosts(&self) -> PathBuf {
        self.0.join("hosts")
    }

    /// Returns the path of a host's file.
    ///
    /// # Errors
    /// [`FolderError::Name`].
    pub fn host_file(&self, name: &str) -> Result<PathBuf, FolderError> {
        check_host_name(name)?;
        Ok(self.hosts().join(format!("{name}.host")))
    }

    /// Lists the names of all hosts, sorted.
    ///
    /// # Errors
    /// When the folder is there and cannot be read.
    pub fn host_names(&self) -> Result<Vec<String>, FolderError> {
        let hosts = self.hosts();
        let entries = match std::fs::read_dir(&hosts) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(FileError::Io { path: hosts, source }.into()),
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| {
                entry.ok()?.file_name().to_str()?.strip_suffix(".host").map(str::to_owned)
            })
            .filter(|name| check_host_name(name).is_ok())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Reads a host's enrolment line: the one to knock by first, see [`Folder::read_host_lines`].
    ///
    /// # Errors
    /// When there is none, or the file or line is wrong.
    pub fn read_host(&self, name: &str) -> Result<HostLine, FolderError> {
        let mut lines = self.read_host_lines(name)?;
        // There is one, or there was an error.
        if lines.is_empty() { Err(self.unknown_host(name)) } else { Ok(lines.swap_remove(0)) }
    }

    /// Makes the error for a host that is not enrolled.
    pub(crate) fn unknown_host(&self, name: &str) -> FolderError {
        let names = self.host_names().unwrap_or_default();
        let near = crate::did_you_mean(name, names.iter().map(String::as_str));
        FolderError::NoHost(UnknownHost { name: name.to_owned(), near })
    }

    /// Returns the path of a host's own key, if it has one: a rotated key is one host's. It is
    /// named by the check in the line, so that replacing the line puts both into force at once.
    #[must_use]
    pub fn key_of(&self, line: &HostLine) -> PathBuf {
        self.hosts().join(format!("{}.key", line.check_text()))
    }

    /// Returns the path of the line of a rotation under way, whose last answer may be lost; that of
    /// no file while there is none.
    #[must_use]
    pub fn rotation_file(&self, name: &str) -> PathBuf {
        self.hosts().join(format!("{name}.rotating"))
    }

    /// Writes a host's file, mode 0600; overwrites only with `replace`.
    ///
    /// # Errors
    /// When the host is there already and `replace` is not set, or the system says no.
    pub fn write_host(
        &self,
        name: &str,
        line: &HostLine,
        replace: bool,
    ) -> Result<PathBuf, FolderError> {
        let path = self.host_file(name)?;
        file::private_folder(&self.hosts())?;
        let text = line.to_text().map_err(|error| FolderError::Host {
            path: path.clone(),
            line: 0,
            error,
        })?;
        let whole = format!(
            "# {name}: enrolment of this client as {}. Secret: it holds a pre-shared key.\n{}\n",
            line.name,
            text.expose()
        );
        let whole = crate::SecretText::new(whole);
        if replace {
            file::replace(&path, whole.expose())?;
        } else {
            file::write_new(&path, whole.expose())?;
        }
        Ok(path)
    }
}
