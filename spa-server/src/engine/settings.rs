//! What the operator chose, as the engine needs it.

use std::time::Duration;

use super::sequence::{Sequence, to_millis};

/// Settings of an engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Stages, ports, timeouts.
    pub sequence: Sequence,
    /// How far a time stamp may lie behind our clock.
    pub window_past: Duration,
    /// How far a time stamp may lie ahead of our clock.
    pub window_future: Duration,
    /// Answer with acks.
    pub ack: bool,
    /// How long a knock opens for whoever sent it before its client confirms the address; zero: it
    /// opens nothing before that.
    pub provisional: Duration,
    /// Tell the firewall which sources are in a sequence (a bait spares them).
    pub mark_sequence: bool,
}

impl Settings {
    pub(super) fn past_ms(&self) -> u64 {
        to_millis(self.window_past)
    }

    pub(super) fn future_ms(&self) -> u64 {
        to_millis(self.window_future)
    }
}
