//! Standard output: the answer and nothing else.

use std::io::{ErrorKind, Write};

use spa_keys::{Failure, escape_controls};

/// Begins the terminal's current line anew (ECMA-48, CR and EL).
const CLEAR_LINE: &str = "\r\x1b[K";

/// Writes the answer. A reader that has gone away (`| head`) is no failure.
pub(super) fn answer(text: &str) -> Result<(), Failure> {
    write_pieces(["", &escape_controls(text)])
}

/// Writes as [`answer`] in the place of the terminal's current line.
pub(super) fn redraw_line(text: &str) -> Result<(), Failure> {
    write_pieces([CLEAR_LINE, &escape_controls(text)])
}

fn write_pieces(pieces: [&str; 2]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(pieces.concat().as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
