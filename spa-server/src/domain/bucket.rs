//! A token bucket.

use std::time::Duration;

/// Capacity and refill time of a bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Tokens of a full bucket.
    pub(crate) burst: u32,
    /// Time for one token.
    pub(crate) each: Duration,
}

/// Tokens that grow with the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    tokens: u32,
    filled: Duration,
}

impl Bucket {
    /// A full bucket at this moment of the monotonic clock.
    pub(crate) fn new_full(rate: Rate, now: Duration) -> Self {
        Self { rate, tokens: rate.burst, filled: now }
    }

    /// Tells whether nothing is missing from it.
    pub(crate) fn is_full(&mut self, now: Duration) -> bool {
        self.fill(now);
        self.tokens == self.rate.burst
    }

    /// Takes a token if there is one.
    pub(crate) fn take_token(&mut self, now: Duration) -> bool {
        self.fill(now);
        let left = self.tokens.checked_sub(1);
        self.tokens = left.unwrap_or_default();
        left.is_some()
    }

    fn fill(&mut self, now: Duration) {
        let grown = now.saturating_sub(self.filled).as_nanos() / self.rate.each.as_nanos().max(1);
        if grown > 0 {
            let grown = u32::try_from(grown).unwrap_or(u32::MAX);
            self.tokens = self.tokens.saturating_add(grown).min(self.rate.burst);
            self.filled = self.filled.saturating_add(self.rate.each.saturating_mul(grown)).min(now);
        }
    }
}
