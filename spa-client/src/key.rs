//! The client's key: the one place that reads it.

use std::path::Path;

use spa_keys::file::FileError;
use spa_keys::key_file::KeyFileError;
use spa_keys::{Failure, Identity, PassphraseSource, exit};
use spa_proto::ClientSecret;

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

/// Reads a key of which both halves are in the file, as enrolment and rotation need: the new key itself signs the request.
pub(crate) fn read_whole(identity: &Path) -> Result<ClientSecret, Failure> {
    match read(identity)? {
        Identity::Whole(secret) => Ok(secret),
        Identity::Split(_) => Err(Failure::new(
            exit::CONFIG,
            format!(
                "the signing half of {} is in an agent, and only whole keys enrol or rotate by themselves: take another key file, or have this one enrolled by two pastes (spa pubkey)",
                identity.display()
            ),
        )),
    }
}
