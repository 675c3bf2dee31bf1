//! `spa unlock` and `spa lock`

use std::path::{Path, PathBuf};

use spa_keys::key_file;
use spa_keys::{Failure, duration};
use spa_keys::{LockedKey, forget_passphrase, remember_passphrase};
use spa_proto::{ClientSecret, ServerSecret};

use crate::command::args::Unlock;
use crate::command::{passwd, source};

/// Runs `spa unlock`.
pub(crate) fn run(args: &Unlock) -> Result<(), Failure> {
    let (path, locked) = read_locked_key(args.file.as_deref())?;
    let seconds = u32::try_from(args.time.as_secs()).unwrap_or(u32::MAX);
    let passphrase =
        passwd::passphrase_source(args.passphrase_fd).ask(&path.display().to_string())?;
    // A wrong one is found now, not at the next knock.
    if locked.is_server() {
        locked.unlock::<ServerSecret>(&passphrase)?;
    } else {
        locked.unlock::<ClientSecret>(&passphrase)?;
    }
    remember_passphrase(&locked, &passphrase, seconds)
        .map_err(|error| Failure::failed(error.to_string()))?;
    let time = duration::format(args.time);
    spa_keys::note!("{} is unlocked for {time}; to lock it sooner: spa lock", path.display());
    Ok(())
}

/// Runs `spa lock`.
pub(crate) fn run_lock(file: Option<&Path>) -> Result<(), Failure> {
    let (path, locked) = read_locked_key(file)?;
    let was = if forget_passphrase(&locked) { "is locked again" } else { "was locked already" };
    spa_keys::note!("{} {was}", path.display());
    Ok(())
}

fn read_locked_key(file: Option<&Path>) -> Result<(PathBuf, LockedKey), Failure> {
    let path = source::find_key_file(file)?;
    match key_file::read_locked(&path)? {
        Some(locked) => Ok((path, locked)),
        None => Err(Failure::failed(format!(
            "{0} has no passphrase; set one: spa passwd {0}",
            path.display()
        ))),
    }
}
