//! Standard output that may be closed.

use std::io::{self, Write};

use serde::Serialize;
use spa_keys::{Failure, escape_controls};

/// Prints text as it is. A reader that has gone (`spa-client … | head -0`) is its own decision and
/// no failure.
pub(crate) fn print_text(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(escape_controls(text).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints one JSON object on one line.
pub(crate) fn print_json(object: &impl Serialize) -> Result<(), Failure> {
    let line =
        serde_json::to_string(object).map_err(|error| Failure::failed(format!("JSON: {error}")))?;
    print_text(&(line + "\n"))
}
