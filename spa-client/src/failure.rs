//! What ends the command before anything was sent.

use std::process::ExitCode;

use spa_keys::FolderError;
use spa_keys::file::FileError;
use spa_keys::key_file::KeyFileError;

/// A sentence for the user and an exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn report(&self) -> ExitCode {
        spa_keys::note!("spa-client: {}", self.message);
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
