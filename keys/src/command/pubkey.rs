//! `spa pubkey`

use std::path::Path;

use spa_keys::key_file::{self as files, KeyFileError};
use spa_keys::{Failure, Kind, LockError, TextError, TextForm};
use spa_proto::{ClientSecret, ServerSecret};

use crate::command::{output, source};

/// Runs `spa pubkey`.
pub(crate) fn run(file: Option<&Path>) -> Result<(), Failure> {
    let path = source::find_key_file(file)?;
    let public = match files::read_public_half::<ClientSecret>(&path) {
        Ok(public) => public.to_text(),
        Err(KeyFileError::Lock { error: LockError::Content(_), .. }) => {
            files::read_public_half::<ServerSecret>(&path)?.to_text()
        }
        Err(KeyFileError::Text {
            error: TextError::Other { found: Kind::ServerSecret, .. },
            ..
        }) => files::read_public_half::<ServerSecret>(&path)?.to_text(),
        Err(error) => return Err(error.into()),
    };
    output::print_line(&public)
}
