//! How a command ends when it does not succeed; the same in all our programs.

use std::fmt;
use std::process::ExitCode;

use crate::file::FileError;
use crate::key_file::KeyFileError;
use crate::{FolderError, HostError, LockError, PassphraseError, TextError, exit};

/// What, why and what to do next, in a sentence, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// One of [`crate::exit`].
    pub code: u8,
    /// The sentence.
    pub text: String,
}

impl Failure {
    /// With an exit code.
    #[must_use]
    pub fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// Exit code 1.
    #[must_use]
    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(exit::FAILURE, text)
    }

    /// Exit code 78.
    #[must_use]
    pub fn config(text: impl Into<String>) -> Self {
        Self::new(exit::CONFIG, text)
    }

    /// Prints it on standard error, the program's name first.
    #[must_use]
    pub fn report(&self, program: &str) -> ExitCode {
        crate::note!("{program}: {}", self.text.trim_end());
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::new(error.exit_code(), error.to_string())
    }
}

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Self {
        Self::new(error.exit_code(), error.to_string())
    }
}

impl From<PassphraseError> for Failure {
    fn from(error: PassphraseError) -> Self {
        Self::new(error.exit_code(), error.to_string())
    }
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Self {
        Self::new(error.exit_code(), error.to_string())
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<TextError> for Failure {
    fn from(error: TextError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
        Self::new(if denied { exit::PERMISSION } else { exit::FAILURE }, error.to_string())
    }
}
