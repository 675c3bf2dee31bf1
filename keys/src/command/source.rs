//! Where a text comes from: the command line or standard input.

use std::io::{self, Read};

use spa_keys::file::MAX_SECRET_FILE;
use spa_keys::{Kind, SecretText, exit, kind_of};

use crate::command::Failure;

/// All of standard input, at most 64 KiB.
pub(crate) fn stdin() -> Result<SecretText, Failure> {
    let mut text = String::with_capacity(2048);
    let read = io::stdin().lock().take(MAX_SECRET_FILE + 1).read_to_string(&mut text);
    let text = SecretText::new(text);
    match read {
        Err(error) => Err(Failure::new(exit::FAILURE, format!("standard input: {error}"))),
        Ok(len) if u64::try_from(len).is_ok_and(|len| len > MAX_SECRET_FILE) => {
            Err(Failure::new(exit::FAILURE, "standard input: more than 64 KiB, this is not what was meant"))
        }
        Ok(_) => Ok(text),
    }
}

/// A text given as an argument, or standard input for `-`. A secret among the arguments can be read by every user
/// of the machine while the command runs, and stays in the shell's history: said, not refused.
pub(crate) fn argument(given: &str, instead: &str) -> Result<SecretText, Failure> {
    if given == "-" {
        return stdin();
    }
    if kind_of(given).is_some_and(Kind::is_secret) {
        spa_keys::note!(
            "spa: hint: a secret on the command line shows in `ps` and in the shell's history; better: {instead}"
        );
    }
    Ok(SecretText::new(given.to_owned()))
}
