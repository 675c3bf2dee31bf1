//! `spa pubkey`

use std::path::Path;

use spa_keys::key_file::{self, KeyFileError};
use spa_keys::{Folder, Kind, LockError, TextError, TextForm};
use spa_proto::{ClientSecret, ServerSecret};

use crate::command::{Failure, output};

pub(crate) fn run(file: Option<&Path>) -> Result<(), Failure> {
    let path = match file {
        Some(path) => path.to_owned(),
        None => Folder::of_user()?.identity(),
    };
    let public = match key_file::read_public_half::<ClientSecret>(&path) {
        Ok(public) => public.to_text(),
        Err(KeyFileError::Lock { error: LockError::Content(_), .. }) => {
            key_file::read_public_half::<ServerSecret>(&path)?.to_text()
        }
        Err(KeyFileError::Text { error: TextError::Other { found: Kind::ServerSecret, .. }, .. }) => {
            key_file::read_public_half::<ServerSecret>(&path)?.to_text()
        }
        Err(error) => return Err(error.into()),
    };
    output::line(&public)
}
