//! The operator's settings, as the engine needs them.

use std::time::Duration;

use spa_keys::whole_millis;

use super::sequence::Sequence;

/// Time for which an ended session keeps its keys and answers.
pub(super) const ENDED_LIFETIME: Duration = Duration::from_secs(30);

/// Settings of an engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Stages, ports, timeouts.
    pub sequence: Sequence,
    /// Longest time that a time stamp may lie behind our clock.
    pub window_past: Duration,
    /// Longest time that a time stamp may lie ahead of our clock.
    pub window_future: Duration,
    /// Answer with acks.
    pub ack: bool,
    /// Time for which a knock opens for its sender before its client confirms the address; zero: it
    /// opens nothing before that.
    pub provisional: Duration,
    /// Age of its psk at which a client is asked for new keys; `None`: never.
    pub pair_age: Option<Duration>,
    /// Tell the firewall which sources are in a sequence (a bait spares them).
    pub mark_sequence: bool,
}

impl Settings {
    /// Time that the epoch of a tag, and of hopping ports, may lie behind our clock: a session that
    /// opened is confirmed for a while after its window.
    #[must_use]
    pub fn past_reach(&self) -> Duration {
        self.window_past.max(ENDED_LIFETIME)
    }

    /// Stages over which an ML-KEM key may be split; none where no answer brings the ciphertext.
    pub(super) fn kem_stages(&self) -> Option<u8> {
        self.ack.then(|| self.sequence.stages())
    }

    /// [`Self::window_past`] in milliseconds.
    pub(super) fn past_ms(&self) -> u64 {
        whole_millis(self.window_past)
    }

    /// [`Self::window_future`] in milliseconds.
    pub(super) fn future_ms(&self) -> u64 {
        whole_millis(self.window_future)
    }
}
