//! Lines on standard error that cannot fail the command.

use std::fmt;
use std::io::{self, Write};

use super::clean::{escape_controls, mask_secrets, shorten};

/// Writes one line to standard error, in one piece, secrets masked and controls escaped. A closed standard error is no reason to stop
/// (`eprintln!` would panic). Use it through [`crate::note!`].
pub fn write_note(text: fmt::Arguments<'_>) {
    let text = text.to_string();
    let masked = mask_secrets(&text);
    let lines: Vec<_> = masked.split('\n').map(shorten).collect();
    let line = format!("{}\n", escape_controls(&lines.join("\n")));
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Prints a line like `eprintln!`, but never panics.
#[macro_export]
macro_rules! note {
    ($($arg:tt)*) => { $crate::write_note(format_args!($($arg)*)) };
}
