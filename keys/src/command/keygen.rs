//! `spa keygen`

use std::path::Path;

use spa_keys::key_file::{self, Secret};
use spa_keys::{Fingerprint, Folder, TextForm, exit, file};
use spa_proto::{ClientSecret, RandomError, ServerSecret};

use crate::command::{Failure, Keygen, output};

pub(crate) fn run(args: &Keygen) -> Result<(), Failure> {
    let path = match &args.output {
        Some(path) => path.clone(),
        None => {
            let folder = Folder::of_user()?;
            file::private_folder(folder.path())?;
            folder.identity()
        }
    };
    if args.server {
        let key = ServerSecret::generate().map_err(no_random)?;
        write(&path, &key, Fingerprint::from(&key.public()))
    } else {
        let key = ClientSecret::generate().map_err(no_random)?;
        write(&path, &key, Fingerprint::from(&key.public()))
    }
}

fn write<K: Secret>(path: &Path, key: &K, fingerprint: Fingerprint) -> Result<(), Failure> {
    key_file::write(path, key, jiff::Timestamp::now())?;
    spa_keys::note!("secret key: {} (keep it; nobody can make it again)", path.display());
    spa_keys::note!("fingerprint: {fingerprint}");
    output::line(&key.public_half().to_text())
}

fn no_random(error: RandomError) -> Failure {
    Failure::new(exit::FAILURE, error.to_string())
}
