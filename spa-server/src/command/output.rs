//! Standard output: the answer and nothing else.

use std::io::{ErrorKind, Write};

use spa_keys::Failure;

/// Writes the answer. A reader that has gone away (`| head`) is no failure.
pub(super) fn answer(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
