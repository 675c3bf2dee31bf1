//! Strangers are counted, never logged one by one: nobody can fill a disk from outside.

use std::time::Duration;

use super::{Level, LogEvent, Logger};

/// Least time between two summaries.
pub const SUMMARY_INTERVAL: Duration = Duration::from_secs(60);

/// Counts what came without authentication since the last summary.
#[derive(Clone, Debug)]
pub struct Strangers<const N: usize> {
    names: [&'static str; N],
    counts: [u64; N],
    last: Option<Duration>,
}

impl<const N: usize> Strangers<N> {
    /// Counts these kinds; each name becomes a key of the summary.
    #[must_use]
    pub fn new(names: [&'static str; N]) -> Self {
        Self { names, counts: [0; N], last: None }
    }

    /// Counts `more` of the kind with this index; an index beyond the kinds is not counted.
    pub fn add(&mut self, kind: usize, more: u64) {
        if let Some(count) = self.counts.get_mut(kind) {
            *count = count.saturating_add(more);
        }
    }

    /// Counted since the last summary.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The summary `strangers` with the counts that are not zero, if there are some and the last
    /// one is [`SUMMARY_INTERVAL`] ago on the monotonic clock; counting starts again then.
    pub fn summary<'l>(&mut self, now: Duration, logger: &'l Logger) -> Option<LogEvent<'l>> {
        self.take_counts(now)
            .map(|counts| self.fill_event(logger.event(Level::Info, "strangers"), counts))
    }

    /// [`Strangers::summary`] for the process's log, written at once.
    pub fn report(&mut self, now: Duration) {
        if let Some(counts) = self.take_counts(now) {
            self.fill_event(super::event(Level::Info, "strangers"), counts).emit();
        }
    }

    fn take_counts(&mut self, now: Duration) -> Option<[u64; N]> {
        let early = self.last.is_some_and(|last| now.saturating_sub(last) < SUMMARY_INTERVAL);
        if self.total() == 0 || early {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::replace(&mut self.counts, [0; N]))
    }

    fn fill_event<'l>(&self, event: LogEvent<'l>, counts: [u64; N]) -> LogEvent<'l> {
        let total = counts.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
        self.names
            .into_iter()
            .zip(counts)
            .filter(|(_, count)| *count > 0)
            .fold(event.number("packets", total), |event, (name, count)| event.number(name, count))
    }
}
