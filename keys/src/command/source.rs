//! Where a text comes from: the command line or standard input.

use spa_keys::{Kind, SecretText, kind_of};

use crate::command::Failure;

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
