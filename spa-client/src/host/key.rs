//! The client's key: the one place that reads it.

use std::path::Path;

use spa_keys::file::FileError;
use spa_keys::key_file::{self, KeyFileError};
use spa_keys::{Failure, Identity, PassphraseSource, SecretText, exit};
use spa_proto::{ClientPublic, ClientSecret};

/// The passphrase of `--passphrase-fd`. Read once, before all else: whatever the command does, the
/// line is taken from the pipe.
pub(crate) fn passphrase(descriptor: Option<u32>) -> Result<Option<SecretText>, Failure> {
    let ask = |number| PassphraseSource::Descriptor(number).ask("the key");
    Ok(descriptor.map(ask).transpose()?)
}

/// Reads the key of this file; when it is locked, with this passphrase, else the one that the
/// kernel remembers or that is asked at the terminal.
pub(crate) fn read(identity: &Path, passphrase: Option<&SecretText>) -> Result<Identity, Failure> {
    let read = match passphrase {
        Some(passphrase) => Identity::read_with(identity, passphrase),
        None => Identity::read(identity, PassphraseSource::Remembered),
    };
    read.map_err(no_key)
}

/// Its public half, for which nobody is asked for anything.
pub(crate) fn public(identity: &Path) -> Result<ClientPublic, Failure> {
    key_file::read_public_half::<ClientSecret>(identity).map_err(no_key)
}

fn no_key(error: KeyFileError) -> Failure {
    match error {
        KeyFileError::File(FileError::Missing(_)) => Failure::new(
            exit::CONFIG,
            format!("{error}; make a key with: spa keygen, and have it enrolled"),
        ),
        other => other.into(),
    }
}
