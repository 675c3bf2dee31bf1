//! `spa keygen`

use std::path::Path;

use spa_keys::file::FileError;
use spa_keys::key_file::{self, Secret};
use spa_keys::{
    Cost, Failure, Fingerprint, Folder, LockedKey, TextForm, file, find_agent_key, make_split_key,
};
use spa_proto::{ClientSecret, RandomError, ServerSecret};

use crate::command::args::Keygen;
use crate::command::{output, passwd};

/// Runs `spa keygen`.
pub(crate) fn run(args: &Keygen) -> Result<(), Failure> {
    let path = match &args.output {
        Some(path) => path.clone(),
        None => {
            let folder = Folder::of_user()?;
            file::private_folder(folder.path())?;
            folder.identity()
        }
    };
    if let Some(name) = &args.agent {
        return write_split_key(&path, name);
    }
    if args.server {
        let key = ServerSecret::generate().map_err(random_failure)?;
        write_key(args, &path, &key, Fingerprint::from(&key.public()))?;
        spa_keys::note!(
            "without a replay record beside it, the server's first start takes no knocks for a \
             minute; `spa-server init` makes both"
        );
        Ok(())
    } else {
        let key = ClientSecret::generate().map_err(random_failure)?;
        write_key(args, &path, &key, Fingerprint::from(&key.public()))
    }
}

fn write_key<K: Secret>(
    args: &Keygen,
    path: &Path,
    key: &K,
    fingerprint: Fingerprint,
) -> Result<(), Failure> {
    let created = jiff::Timestamp::now();
    if args.passphrase || args.passphrase_fd.is_some() {
        // Before anything is asked: nobody types a passphrase twice to learn that there is a key
        // already.
        if path.symlink_metadata().is_ok() {
            return Err(FileError::Exists(path.to_owned()).into());
        }
        let passphrase =
            passwd::passphrase_source(args.passphrase_fd).ask_new(&path.display().to_string())?;
        let locked = LockedKey::lock(key, &passphrase, Cost::DEFAULT)?;
        key_file::write_locked(path, key, &locked, created)?;
    } else {
        key_file::write(path, key, created)?;
    }
    spa_keys::note!("secret key: {} (keep it safe: it cannot be recreated)", path.display());
    spa_keys::note!("fingerprint: {fingerprint}");
    output::print_line(&key.public_half().to_text())
}

/// The X25519 half goes into the file, the agent keeps the other.
fn write_split_key(path: &Path, name: &str) -> Result<(), Failure> {
    let (agent, comment) = find_agent_key(name)?;
    let key = make_split_key(path, agent, &comment)?;
    output::print_line(&key.public().to_text())
}

fn random_failure(error: RandomError) -> Failure {
    Failure::failed(error.to_string())
}
