//! Counters outside the engine.

use std::collections::BTreeMap;
use std::time::Duration;

use spa_proto::Reason;

use crate::config::Service;
use crate::engine::{Event, EventKind};

/// Upper bounds of the histogram's buckets, milliseconds: a quiet disk and a firewall of a few
/// grants answer within one, a busy disk within hundreds.
pub const BUCKETS_MS: [f64; 11] =
    [0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 100.0, 250.0, 1000.0, 5000.0];

/// Times in buckets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Number of times in each bucket alone; the last one is for all above.
    pub counts: [u64; BUCKETS_MS.len() + 1],
    /// All times together.
    pub sum: Duration,
}

impl Histogram {
    /// Counts a time.
    pub fn add(&mut self, time: Duration) {
        let ms = time.as_secs_f64() * 1e3;
        let at = BUCKETS_MS.iter().position(|bound| ms <= *bound).unwrap_or(BUCKETS_MS.len());
        if let Some(count) = self.counts.get_mut(at) {
            *count += 1;
        }
        self.sum += time;
    }
}

/// Counts since the start.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    /// Sessions by verdict and reason; every pair that can be is there from the start.
    pub knocks: BTreeMap<(&'static str, &'static str), u64>,
    /// When a knock opened or renewed at last, unix milliseconds.
    pub accepted_ms: Option<u64>,
    /// From the last stage's arrival to the opened firewall.
    pub open_time: Histogram,
    /// Bait hits by group.
    pub baits: BTreeMap<String, u64>,
    /// The table was put back after a foreign change.
    pub restores: u64,
    /// It could not be.
    pub restores_failed: u64,
    /// Configurations taken.
    pub reloads: u64,
    /// Configurations refused.
    pub reloads_refused: u64,
    /// Lines that clients and users of the control socket have caused and that were left out.
    pub lines_left_out: u64,
    /// Writes of the replay record that failed.
    pub store_errors: u64,
    /// Hooks that failed or were dropped, by service and `open` or `close`.
    pub hooks: BTreeMap<(String, &'static str), u64>,
}

impl Default for Tally {
    fn default() -> Self {
        use EventKind as E;
        use Reason as R;
        let denied = [
            R::Service,
            R::Expired,
            R::Hours,
            R::From,
            R::Ttl,
            R::MaxGrants,
            R::Banned,
            R::Op,
            R::ForAddr,
            R::NewKeys,
        ];
        let bare = [
            E::Granted,
            E::Renewed,
            E::Closed,
            E::Enrolled,
            E::Rekeyed,
            E::BadSignature,
            E::OtherSource,
            E::TimedOut,
            E::Replay,
        ];
        let pairs = bare
            .map(|kind| (kind, R::None))
            .into_iter()
            .chain(denied.map(|reason| (E::Denied, reason)))
            .chain([R::Past, R::Future, R::Fence].map(|reason| (E::Stale, reason)))
            .chain([R::Firewall, R::Store].map(|reason| (E::Failed, reason)));
        Self {
            knocks: pairs.map(|(kind, reason)| ((kind.word(), reason.word()), 0)).collect(),
            accepted_ms: None,
            open_time: Histogram::default(),
            baits: BTreeMap::new(),
            restores: 0,
            restores_failed: 0,
            reloads: 0,
            reloads_refused: 0,
            lines_left_out: 0,
            store_errors: 0,
            hooks: BTreeMap::new(),
        }
    }
}

impl Tally {
    /// Counts what the engine tells the log.
    pub fn event(&mut self, event: &Event, unix_ms: u64) {
        *self.knocks.entry((event.kind.word(), event.reason.word())).or_default() += 1;
        if matches!(event.kind, EventKind::Granted | EventKind::Renewed) {
            self.accepted_ms = Some(unix_ms);
            self.open_time.add(event.took.unwrap_or_default());
        }
    }

    /// Counts a hit of a bait.
    pub fn bait(&mut self, group: &str) {
        match self.baits.get_mut(group) {
            Some(count) => *count += 1,
            None => drop(self.baits.insert(group.to_owned(), 1)),
        }
    }

    /// Counts failures of a hook, `open` or `close`.
    pub fn hooks_failed(&mut self, service: String, hook: &str, failures: u64) {
        if let Some(word) = ["open", "close"].into_iter().find(|word| *word == hook) {
            *self.hooks.entry((service, word)).or_default() += failures;
        }
    }

    /// The failures of those hooks that a service has.
    pub fn hooks_of(&self, service: &Service) -> Vec<(String, &'static str, u64)> {
        let there = [("open", service.on_open.is_some()), ("close", service.on_close.is_some())];
        let count = |word| self.hooks.get(&(service.name.to_string(), word)).copied().unwrap_or(0);
        let there = there.into_iter().filter(|(_, there)| *there);
        there.map(|(word, _)| (service.name.to_string(), word, count(word))).collect()
    }
}
