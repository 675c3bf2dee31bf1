//! The client's key: the one place that reads it.

use std::path::Path;

use spa_keys::file::FileError;
use spa_keys::key_file::KeyFileError;
use spa_keys::{Failure, Identity, PassphraseSource, exit};

/// Reads the key of this file.
pub(crate) fn read(identity: &Path) -> Result<Identity, Failure> {
    match Identity::read(identity, PassphraseSource::Remembered) {
        Err(error @ KeyFileError::File(FileError::Missing(_))) => {
            let message = format!("{error}; make a key with: spa keygen, and have it enrolled");
            Err(Failure::new(exit::CONFIG, message))
        }
        other => Ok(other?),
    }
}
