//! Random pauses and padding: nothing secret, and the least of all when there are no random bytes.

use std::time::Duration;

use spa_proto::random;

/// Most padding per packet, in bytes.
const MAX_PADDING: usize = 112;

/// Draws a pause of this many milliseconds and up to 255 more.
pub(super) fn random_pause(least_ms: u64) -> Duration {
    Duration::from_millis(least_ms + u64::from(random_byte()))
}

/// Draws a length of padding, in bytes.
pub(super) fn random_padding() -> usize {
    usize::from(random_byte()) * (MAX_PADDING + 1) / 256
}

/// Draws a byte.
pub(super) fn random_byte() -> u8 {
    let [byte] = random().unwrap_or_default();
    byte
}
