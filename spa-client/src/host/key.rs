//! The client's key files, read only here.

use std::path::{Path, PathBuf};

use spa_keys::file::FileError;
use spa_keys::key_file::{self, KeyFileError};
use spa_keys::{
    Failure, Fingerprint, Folder, HostLine, Identity, PassphraseSource, SecretText, SplitKey,
};
use spa_proto::{ClientPublic, ClientSecret};

/// Reads the passphrase of `--passphrase-fd`. Read once, before all else: whatever the command
/// does, the line is taken from the pipe.
pub(crate) fn read_passphrase_fd(descriptor: Option<u32>) -> Result<Option<SecretText>, Failure> {
    let ask = |number| PassphraseSource::Descriptor(number).ask("the key");
    Ok(descriptor.map(ask).transpose()?)
}

/// Reads the key of this file; when it is locked, with this passphrase, else the one that the
/// kernel remembers or that is asked at the terminal.
pub(crate) fn read_key(
    identity: &Path,
    passphrase: Option<&SecretText>,
) -> Result<Identity, Failure> {
    let read = match passphrase {
        Some(passphrase) => Identity::read_with(identity, passphrase),
        None => Identity::read(identity, PassphraseSource::Remembered),
    };
    read.map_err(explain_missing_key)
}

/// Reads the key of this file if nobody has to unlock it.
pub(crate) fn read_unlocked_key(identity: &Path) -> Option<Identity> {
    let split = SplitKey::read(identity).ok()?.is_some();
    let locked = !split && key_file::read_locked(identity).ok()?.is_some();
    if locked { None } else { read_key(identity, None).ok() }
}

/// Reads the public half of a key, for which nobody is asked for anything.
pub(crate) fn read_public_key(identity: &Path) -> Result<ClientPublic, Failure> {
    key_file::read_public_half::<ClientSecret>(identity).map_err(explain_missing_key)
}

fn explain_missing_key(error: KeyFileError) -> Failure {
    match error {
        KeyFileError::File(FileError::Missing(_)) => {
            Failure::config(error.to_string()).remedy_after("make a key with", "spa keygen")
        }
        other => other.into(),
    }
}

/// Finds the key file of a host: its own after a rotation, else what the settings say.
pub(crate) fn find_identity(folder: &Folder, settings: PathBuf, line: &HostLine) -> PathBuf {
    let own = folder.key_of(line);
    if own.exists() { own } else { settings }
}

/// Checks that the line was made for this key: another one would meet silence.
pub(crate) fn check_enrolled(
    host: &str,
    line: &HostLine,
    identity: &Path,
    public: &ClientPublic,
) -> Result<(), Failure> {
    if line.is_for(public) {
        return Ok(());
    }
    let message = format!(
        "{host} was enrolled for another key than {} ({}); name the right one with: spa-client \
         hosts set {host} identity FILE, or enrol anew: spa host add - --replace",
        identity.display(),
        Fingerprint::from(public)
    );
    Err(Failure::config(message))
}
