//! A client's key, made where it is first needed.

use std::path::Path;

use spa_proto::{ClientSecret, KeyKind};

use crate::agent::AgentKey;
use crate::file::FileError;
use crate::{
    Cost, Failure, Fingerprint, LockedKey, SecretText, SplitKey, file, key_file, printable,
};

/// Makes a client's key and writes it, under this passphrase if there is one; it is on the disk
/// when this returns.
///
/// # Errors
/// When a file of that name is there already, or the system says no.
pub fn make_key(path: &Path, passphrase: Option<&SecretText>) -> Result<ClientSecret, Failure> {
    let key = ClientSecret::generate().map_err(|error| Failure::failed(error.to_string()))?;
    make_folder(path)?;
    let created = jiff::Timestamp::now();
    match passphrase {
        None => key_file::write(path, &key, created)?,
        Some(passphrase) => {
            let locked = LockedKey::lock(&key, passphrase, Cost::DEFAULT)?;
            key_file::write_locked(path, &key, &locked, created)?;
        }
    }
    crate::note!("secret key: {} (keep it safe: it cannot be recreated)", path.display());
    crate::note!("fingerprint: {}", Fingerprint::from(&key.public()));
    Ok(key)
}

/// Makes the half that belongs into a file, beside this key of the agent (see [`find_agent_key`]),
/// and writes it.
///
/// # Errors
/// When a file of that name is there already, or the system says no.
pub fn make_split_key(path: &Path, agent: AgentKey, comment: &str) -> Result<SplitKey, Failure> {
    let key = SplitKey::beside(agent).map_err(|error| Failure::failed(error.to_string()))?;
    make_folder(path)?;
    key_file::write_split(path, &key, jiff::Timestamp::now())?;
    crate::note!("secret half: {} (keep it safe: it cannot be recreated)", path.display());
    crate::note!("signing half: {} {} in the ssh-agent", agent.fingerprint(), printable(comment));
    if agent.kind == KeyKind::SecurityKey {
        crate::note!(
            "it asks for a touch at every knock, and a knock is for one address: choose the family \
             with -4 or -6"
        );
    }
    crate::note!("fingerprint: {}", Fingerprint::from(&key.public()));
    Ok(key)
}

/// Finds the agent's key of this name: a file with its public half (or that of the private key
/// beside it), its comment or fingerprint; and its comment.
///
/// # Errors
/// No agent, no such key, or several.
pub fn find_agent_key(name: &str) -> Result<(AgentKey, String), Failure> {
    AgentKey::find(&read_named_key(name)?).map_err(|error| Failure::failed(error.to_string()))
}

/// Reads a public key's file, if the name is that of one; for a private key's, the file beside it.
fn read_named_key(name: &str) -> Result<String, Failure> {
    let path = Path::new(name);
    let public = if name.ends_with(".pub") { name.to_owned() } else { format!("{name}.pub") };
    match file::read_public(Path::new(&public), file::MAX_SECRET_FILE) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(FileError::Missing(_)) if !path.exists() && !name.ends_with(".pub") => {
            Ok(name.to_owned())
        }
        Err(error) => Err(error.into()),
    }
}

fn make_folder(path: &Path) -> Result<(), Failure> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => Ok(file::private_folder(folder)?),
        None => Ok(()),
    }
}
