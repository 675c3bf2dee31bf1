//! Packets without authentication, counted into one line a minute at most.

use std::time::Duration;

use crate::engine::Counters;
use crate::log::{self, Strangers};

/// Kinds of strangers, and the keys of the line.
const STRANGER_KINDS: [&str; 7] = [
    "wrong-length",
    "wrong-address",
    "unknown-tag",
    "wrong-mac",
    "wrong-port",
    "replayed",
    "bans-not-logged",
];

/// Count of strangers since the last line.
pub(super) struct StrangerLines {
    lines: Strangers<7>,
    counted: Counters,
}

impl StrangerLines {
    /// Nothing counted yet.
    pub(super) fn new() -> Self {
        Self { lines: Strangers::new(STRANGER_KINDS), counted: Counters::default() }
    }

    /// Counts what is new since the last call, and writes the line when it is time.
    pub(super) fn count_strangers(&mut self, now: Counters, bans: u64, mono: Duration) {
        let before = std::mem::replace(&mut self.counted, now);
        let kinds = [
            now.wrong_length - before.wrong_length,
            now.wrong_address - before.wrong_address,
            now.unknown_tag - before.unknown_tag,
            now.wrong_mac - before.wrong_mac,
            now.wrong_port - before.wrong_port,
            now.replayed - before.replayed,
            bans,
        ];
        for (kind, more) in kinds.into_iter().enumerate() {
            self.lines.add(kind, more);
        }
        log::report_internal_errors("engine", now.internal_errors - before.internal_errors);
        self.lines.report(mono);
    }
}
