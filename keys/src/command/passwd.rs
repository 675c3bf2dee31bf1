//! `spa passwd`

use std::path::Path;

use spa_keys::key_file::{self, KeyFileError, Secret};
use spa_keys::{
    Cost, Failure, Kind, LockedKey, PassphraseSource, SplitKey, TextError, forget_passphrase,
};
use spa_proto::{ClientSecret, ServerSecret};

use crate::command::args::Passwd;
use crate::command::source;

/// Runs `spa passwd`.
pub(crate) fn run(args: &Passwd) -> Result<(), Failure> {
    let path = source::find_key_file(args.file.as_deref())?;
    if SplitKey::read(&path)?.is_some() {
        let message = format!(
            "{}: the signing half is in an ssh-agent, which guards it; what is in the file opens \
             nothing alone and takes no passphrase",
            path.display()
        );
        return Err(Failure::failed(message));
    }
    let server = match key_file::read_locked(&path)? {
        Some(locked) => locked.is_server(),
        None => matches!(
            key_file::read::<ClientSecret>(&path),
            Err(KeyFileError::Text {
                error: TextError::Other { found: Kind::ServerSecret, .. },
                ..
            })
        ),
    };
    if server {
        change_passphrase::<ServerSecret>(&path, args)
    } else {
        change_passphrase::<ClientSecret>(&path, args)
    }
}

fn change_passphrase<K: Secret>(path: &Path, args: &Passwd) -> Result<(), Failure> {
    let old = passphrase_source(args.passphrase_fd);
    let before = key_file::read_locked(path)?;
    let key: K = key_file::read_unlocking(path, old)?;
    if args.remove {
        if before.is_none() {
            return Err(Failure::failed(format!("{} has no passphrase", path.display())));
        }
        key_file::replace_key(path, &key.to_text())?;
        before.iter().for_each(|locked| {
            forget_passphrase(locked);
        });
        spa_keys::note!("{} has no passphrase now: whoever copies it has the key", path.display());
        return Ok(());
    }
    let new = passphrase_source(args.new_passphrase_fd).ask_new(&path.display().to_string())?;
    let locked = LockedKey::lock(&key, &new, Cost::DEFAULT)?;
    key_file::replace_key(path, &locked.to_text())?;
    before.iter().for_each(|locked| {
        forget_passphrase(locked);
    });
    spa_keys::note!(
        "{} has the new passphrase; copies that were made before keep the old",
        path.display()
    );
    Ok(())
}

/// Chooses a file descriptor, if one is given, or else the terminal.
pub(crate) fn passphrase_source(descriptor: Option<u32>) -> PassphraseSource {
    descriptor.map_or(PassphraseSource::Terminal, PassphraseSource::Descriptor)
}
