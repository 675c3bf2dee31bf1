//! `spa keygen`

use std::path::Path;

use spa_keys::file::FileError;
use spa_keys::key_file::{self, Secret};
use spa_keys::{AgentKey, Cost, Fingerprint, Folder, LockedKey, SplitKey, TextForm, exit, file, printable};
use spa_proto::{ClientSecret, KeyKind, RandomError, ServerSecret};

use crate::command::{Failure, Keygen, output, passwd};

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
        return beside_agent(&path, name);
    }
    if args.server {
        let key = ServerSecret::generate().map_err(no_random)?;
        write(args, &path, &key, Fingerprint::from(&key.public()))
    } else {
        let key = ClientSecret::generate().map_err(no_random)?;
        write(args, &path, &key, Fingerprint::from(&key.public()))
    }
}

fn write<K: Secret>(args: &Keygen, path: &Path, key: &K, fingerprint: Fingerprint) -> Result<(), Failure> {
    let created = jiff::Timestamp::now();
    if args.passphrase || args.passphrase_fd.is_some() {
        // Before anything is asked: nobody types a passphrase twice to learn that there is a key already.
        if path.symlink_metadata().is_ok() {
            return Err(FileError::Exists(path.to_owned()).into());
        }
        let passphrase = passwd::source(args.passphrase_fd).ask_new(&path.display().to_string())?;
        let locked = LockedKey::lock(key, &passphrase, Cost::DEFAULT)?;
        key_file::write_locked(path, key, &locked, created)?;
    } else {
        key_file::write(path, key, created)?;
    }
    spa_keys::note!("secret key: {} (keep it; nobody can make it again)", path.display());
    spa_keys::note!("fingerprint: {fingerprint}");
    output::line(&key.public_half().to_text())
}

/// The X25519 half goes into the file, the agent keeps the other.
fn beside_agent(path: &Path, name: &str) -> Result<(), Failure> {
    let (agent, comment) =
        AgentKey::find(&named(name)?).map_err(|error| Failure::failed(error.to_string()))?;
    let key = SplitKey::beside(agent).map_err(no_random)?;
    key_file::write_split(path, &key, jiff::Timestamp::now())?;
    let public = key.public();
    spa_keys::note!("secret half: {} (keep it; nobody can make it again)", path.display());
    spa_keys::note!("signing half: {} {} in the ssh-agent", agent.fingerprint(), printable(&comment));
    if agent.kind == KeyKind::SecurityKey {
        spa_keys::note!(
            "it asks for a touch at every knock; at a server with IPv4 and IPv6, name one: -4 or -6"
        );
    }
    spa_keys::note!("fingerprint: {}", Fingerprint::from(&public));
    output::line(&public.to_text())
}

/// What stands in a public key's file, if the name is that of one; of a private key's, the file beside it.
fn named(name: &str) -> Result<String, Failure> {
    let path = Path::new(name);
    let public = if name.ends_with(".pub") { name.to_owned() } else { format!("{name}.pub") };
    match file::read_public(Path::new(&public), file::MAX_SECRET_FILE) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(FileError::Missing(_)) if !path.exists() && !name.ends_with(".pub") => Ok(name.to_owned()),
        Err(error) => Err(error.into()),
    }
}

fn no_random(error: RandomError) -> Failure {
    Failure::new(exit::FAILURE, error.to_string())
}
