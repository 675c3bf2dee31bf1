//! Commands, one file each.

pub(crate) mod close;
pub(crate) mod completions;
pub(crate) mod connect;
pub(crate) mod doctor;
pub(crate) mod hosts;
pub(crate) mod join;
pub(crate) mod open;
pub(crate) mod rotate;
pub(crate) mod run;
pub(crate) mod ssh_config;
mod stdio;

use std::path::Path;

use spa_keys::key_file::only_line;
use spa_keys::{Failure, file, kind_of, read_argument};

/// Reads the one line of a file, or of standard input for `-`, or the line that stands in the place
/// of a file, and parses it. `instead`: the command that keeps the line out of the arguments.
fn read_line<T>(
    path: &Path,
    wanted: &str,
    instead: &str,
    parse: impl FnOnce(&str) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let line = path.to_str().filter(|text| *text == "-" || kind_of(text).is_some());
    let text = match line {
        Some(line) => read_argument(line, instead)?,
        None => file::read_secret(path)?,
    };
    match only_line(text.expose()) {
        Ok((_, line)) => parse(line),
        Err(count) => Err(Failure::failed(format!(
            "{count} lines, one is needed: paste the line {wanted} printed"
        ))),
    }
}
