//! Lines on standard error that cannot fail the command.

use std::fmt;
use std::io::{self, IsTerminal as _, Write};

use super::clean::{escape_controls, mask_secrets, shorten};

/// Writes one line to standard error, in one piece, secrets masked and controls escaped. A closed
/// standard error is no reason to stop (`eprintln!` would panic). Use it through [`crate::note!`].
pub fn write_note(text: fmt::Arguments<'_>) {
    let text = text.to_string();
    let masked = mask_secrets(&text);
    let lines: Vec<_> = masked.split('\n').map(shorten).collect();
    let line = format!("{}\n", escape_controls(&lines.join("\n")));
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Prints an error of the command line's reader, its values masked and escaped, and ends the
/// process; help and version go to standard output as they are.
pub fn exit_with_usage(error: &clap::Error) -> ! {
    if !error.use_stderr() {
        error.exit();
    }
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let text = error.render();
    let text = match std::io::stderr().is_terminal() && !plain {
        true => text.ansi().to_string(),
        false => text.to_string(),
    };
    write_note(format_args!("{}", shorten(text.trim_end())));
    std::process::exit(error.exit_code())
}

/// Prints a line like `eprintln!`, but never panics.
#[macro_export]
macro_rules! note {
    ($($arg:tt)*) => { $crate::write_note(format_args!($($arg)*)) };
}
