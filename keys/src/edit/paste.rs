//! A text from standard input: a pipe's whole content, or one line that somebody pastes.

use std::io::{self, BufRead, IsTerminal, Read};

use crate::file::MAX_SECRET_FILE;
use crate::{Failure, Kind, SecretText, kind_of};

/// Reads all of standard input, at most 64 KiB. At a terminal it asks for one line and ends with
/// Enter.
///
/// # Errors
/// When it cannot be read, or is longer.
pub fn pasted() -> Result<SecretText, Failure> {
    let mut text = String::with_capacity(2048);
    let stdin = io::stdin();
    let read = if stdin.is_terminal() {
        crate::note!("paste the line, then Enter:");
        stdin.lock().take(MAX_SECRET_FILE + 1).read_line(&mut text)
    } else {
        stdin.lock().take(MAX_SECRET_FILE + 1).read_to_string(&mut text)
    };
    let text = SecretText::new(text);
    match read {
        Err(error) => Err(Failure::failed(format!("standard input: {error}"))),
        Ok(length) if u64::try_from(length).is_ok_and(|length| length > MAX_SECRET_FILE) => {
            Err(Failure::failed("standard input: more than 64 KiB, this is not what was meant"))
        }
        Ok(_) => Ok(text),
    }
}

/// Returns a text given as an argument, or standard input for `-`. Every user of the machine can
/// read the arguments while the command runs, and the shell keeps them in its history: for a secret
/// a hint names the command to use `instead`.
///
/// # Errors
/// As [`pasted`].
pub fn read_argument(given: &str, instead: &str) -> Result<SecretText, Failure> {
    if given == "-" {
        return pasted();
    }
    if kind_of(given).is_some_and(Kind::is_secret) {
        let program = instead.split(' ').next().unwrap_or_default();
        crate::note!(
            "{program}: hint: a secret on the command line shows in `ps` and in the shell's \
             history; better: {instead} (and paste it)"
        );
    }
    Ok(SecretText::new(given.to_owned()))
}
