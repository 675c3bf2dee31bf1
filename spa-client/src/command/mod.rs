//! Commands, one file each.

pub(crate) mod close;
pub(crate) mod completions;
pub(crate) mod connect;
pub(crate) mod doctor;
pub(crate) mod hosts;
pub(crate) mod join;
pub(crate) mod open;
mod renew;
pub(crate) mod rotate;
pub(crate) mod run;
pub(crate) mod ssh_config;
mod stdio;

use std::path::Path;

use spa_keys::file::FileError;
use spa_keys::key_file::only_line;
use spa_keys::{Failure, file, kind_of, printable, read_argument};

/// Reads the one line of a file, or of standard input for `-`, and parses it. With `instead`, the
/// line may also stand in the place of a file; a hint then names that command, which keeps the line
/// out of the arguments.
fn read_line<T>(
    path: &Path,
    wanted: &str,
    instead: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let is_line = |text: &str| instead.is_some() && kind_of(text).is_some();
    let text = match path.to_str() {
        Some(line) if line == "-" || is_line(line) => {
            read_argument(line, instead.unwrap_or_default())?
        }
        _ => file::read_secret(path).map_err(|error| match error {
            FileError::Missing(path) => Failure::failed(format!(
                "{} is neither a line nor a file: paste the line {wanted} printed",
                printable(&path.to_string_lossy())
            ))
            .remedy_after("with", instead.unwrap_or("spa host add -")),
            other => other.into(),
        })?,
    };
    match only_line(text.expose()) {
        Ok((_, line)) => parse(line),
        Err(count) => Err(Failure::failed(format!(
            "got {count} lines instead of one: paste the line {wanted} printed"
        ))),
    }
}
