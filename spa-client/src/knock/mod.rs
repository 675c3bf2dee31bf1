//! Knocks: one session and its answer, the proof that a service is reachable, and many at a time.

pub(crate) mod attempt;
pub(crate) mod exchange;
pub(crate) mod key_change;
pub(crate) mod outcome;
pub(crate) mod probe;
pub(crate) mod relay;
