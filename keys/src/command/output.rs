//! Standard output that may be closed.

use std::io::{self, Write};

use spa_keys::{Failure, escape_controls};

/// Prints a line. A reader that has gone (`spa … | head -0`) is its own decision and no failure.
pub(crate) fn print_line(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout().lock(), "{}", escape_controls(text)) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}
