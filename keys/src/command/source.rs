//! Where a text comes from: the command line or standard input.

use std::path::{Path, PathBuf};

use spa_keys::{Failure, Folder, Kind, SecretText, kind_of};

/// Returns a text given as an argument, or standard input for `-`. A secret among the arguments can
/// be read by every user of the machine while the command runs, and stays in the shell's history:
/// said, not refused.
pub(crate) fn read_argument(given: &str, instead: &str) -> Result<SecretText, Failure> {
    if given == "-" {
        return spa_keys::pasted();
    }
    if kind_of(given).is_some_and(Kind::is_secret) {
        spa_keys::note!(
            "spa: hint: a secret on the command line shows in `ps` and in the shell's history; \
             better: {instead}"
        );
    }
    Ok(SecretText::new(given.to_owned()))
}

/// Returns the key file that is meant; the user's own when none is named.
///
/// # Errors
/// When there is none of the user's own, with the way to one.
pub(crate) fn find_key_file(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let path = Folder::of_user()?.identity();
    if path.symlink_metadata().is_ok() {
        return Ok(path);
    }
    Err(Failure::failed(format!(
        "you have no key yet ({} does not exist); make one: spa keygen, or take an invitation: spa \
         join -",
        path.display()
    )))
}
