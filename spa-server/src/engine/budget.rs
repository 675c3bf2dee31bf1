//! A token bucket.

use std::time::Duration;

/// Sessions a client may begin at once.
pub(super) const BURST: u32 = 256;
/// Sessions a client may begin per second in the long run.
pub(super) const PER_SECOND: u32 = 20;

/// Tokens that grow with the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    tokens: u32,
    filled: Duration,
}

impl Bucket {
    pub(super) fn full(now: Duration) -> Self {
        Self { tokens: BURST, filled: now }
    }

    /// Takes a token if there is one.
    pub(super) fn take(&mut self, now: Duration) -> bool {
        let per_token = Duration::from_secs(1) / PER_SECOND;
        let grown = now.saturating_sub(self.filled).as_nanos() / per_token.as_nanos();
        if grown > 0 {
            let grown = u32::try_from(grown).unwrap_or(u32::MAX);
            self.tokens = self.tokens.saturating_add(grown).min(BURST);
            self.filled = self.filled.saturating_add(per_token.saturating_mul(grown)).min(now);
        }
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }
}
