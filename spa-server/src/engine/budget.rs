//! A token bucket.

use std::time::Duration;

/// What a bucket holds and how fast it fills.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Tokens of a full bucket.
    pub(super) burst: u32,
    /// Time for one token.
    pub(super) each: Duration,
}

/// Sessions that a client may begin from home, and as many from elsewhere.
pub(super) const SESSION_RATE: Rate = Rate { burst: 128, each: Duration::from_millis(100) };
/// Log lines per client that copies of its packets can cause; the counters have them all.
pub(super) const LOG_RATE: Rate = Rate { burst: 8, each: Duration::from_secs(5) };

/// Tokens that grow with the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    rate: Rate,
    tokens: u32,
    filled: Duration,
}

impl Bucket {
    pub(super) fn new_full(rate: Rate, now: Duration) -> Self {
        Self { rate, tokens: rate.burst, filled: now }
    }

    /// Takes a token if there is one.
    pub(super) fn take_token(&mut self, now: Duration) -> bool {
        let grown = now.saturating_sub(self.filled).as_nanos() / self.rate.each.as_nanos().max(1);
        if grown > 0 {
            let grown = u32::try_from(grown).unwrap_or(u32::MAX);
            self.tokens = self.tokens.saturating_add(grown).min(self.rate.burst);
            self.filled = self.filled.saturating_add(self.rate.each.saturating_mul(grown)).min(now);
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
