//! A client's key, made where it is first needed.

use std::path::Path;

use spa_proto::ClientSecret;

use crate::{Cost, Failure, Fingerprint, LockedKey, PassphraseSource, exit, file, key_file};

/// Makes a client's key and writes it, under a passphrase if one is to be asked for; it is on the disk when this returns.
///
/// # Errors
/// When a file of that name is there already, there is no passphrase, or the system says no.
pub fn make_key(path: &Path, passphrase: Option<PassphraseSource>) -> Result<ClientSecret, Failure> {
    let key = ClientSecret::generate().map_err(|error| Failure::new(exit::FAILURE, error.to_string()))?;
    if let Some(folder) = path.parent() {
        file::private_folder(folder)?;
    }
    let created = jiff::Timestamp::now();
    match passphrase {
        None => key_file::write(path, &key, created)?,
        Some(source) => {
            let passphrase = source.ask_new(&path.display().to_string())?;
            let locked = LockedKey::lock(&key, &passphrase, Cost::DEFAULT)?;
            key_file::write_locked(path, &key, &locked, created)?;
        }
    }
    crate::note!("secret key: {} (keep it; nobody can make it again)", path.display());
    crate::note!("fingerprint: {}", Fingerprint::from(&key.public()));
    Ok(key)
}
