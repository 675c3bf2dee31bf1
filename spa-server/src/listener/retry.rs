//! Retries for what one server of a host alone can have, and a dying one has a moment longer: a
//! listener whose broker was killed ends by itself, but not before the next broker's listener is
//! there.

use std::io::{Error, ErrorKind};
use std::time::{Duration, Instant};

/// Longest time that a dying listener may take to be gone.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Tries again while the error says that somebody else has it.
pub(super) fn retry_while_taken<T, E>(
    mut attempt: impl FnMut() -> Result<T, E>,
    taken: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let end = Instant::now() + HANDOVER_TIMEOUT;
    loop {
        match attempt() {
            Err(error) if taken(&error) && Instant::now() < end => std::thread::sleep(RETRY_PAUSE),
            outcome => return outcome,
        }
    }
}

/// The system's words for it.
pub(super) fn is_in_use(error: &Error) -> bool {
    error.kind() == ErrorKind::AddrInUse
}
