//! Waiting for a condition with a deadline: the only way in which tests wait.

use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is asked again.
const INTERVAL: Duration = Duration::from_millis(5);

/// Asks until the condition holds or the time is over; the answer is whether it ever held.
///
/// The pause between two questions spares the processor; no caller may rely on its length.
#[must_use]
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    wait_for(limit, || condition().then_some(())).is_some()
}

/// Asks until there is a value or the time is over.
#[must_use]
pub fn wait_for<T>(limit: Duration, mut value: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = value() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(INTERVAL);
    }
}
