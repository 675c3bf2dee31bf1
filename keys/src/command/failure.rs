//! What a command ends with when it does not succeed.

use std::process::ExitCode;

use spa_keys::file::FileError;
use spa_keys::key_file::KeyFileError;
use spa_keys::{FolderError, HostError, TextError, exit};

/// A sentence for the user and an exit code.
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn report(&self) -> ExitCode {
        spa_keys::note!("spa: {}", self.message);
        ExitCode::from(self.code)
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

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Self {
        Self::new(error.exit_code(), error.to_string())
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        Self::new(exit::FAILURE, error.to_string())
    }
}

impl From<TextError> for Failure {
    fn from(error: TextError) -> Self {
        Self::new(exit::FAILURE, error.to_string())
    }
}
