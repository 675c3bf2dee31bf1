//! Schedule of the knocks that hold a service open. It has no clock: the moment is an argument.

use std::time::Duration;

/// Longest time before the end at which a grant is renewed.
const MAX_RENEWAL_MARGIN: Duration = Duration::from_secs(60);
/// First pause after a knock that led to nothing, doubled after each.
const FIRST_RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause.
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(30);
/// Shortest time between two knocks for changes that do not concern our address.
const MIN_UNRELATED_INTERVAL: Duration = Duration::from_secs(10);
/// Jump of a clock that shows that the machine has slept.
pub(super) const SLEEP_THRESHOLD: Duration = Duration::from_secs(5);

/// Schedule of one service at an address. Moments are those of a clock that goes on while the
/// machine sleeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Schedule {
    /// Time of the next knock; nothing while one is on its way.
    next: Option<Duration>,
    last: Option<Duration>,
    failures: u32,
    /// End of the present grant.
    until: Option<Duration>,
}

impl Schedule {
    /// Notes that a knock has been sent.
    pub(super) fn knock_started(&mut self, now: Duration) {
        self.next = None;
        self.last = Some(now);
    }

    /// Notes a grant for so long: renewed in the last third of it, a minute before the end at the
    /// earliest.
    pub(super) fn knock_granted(&mut self, now: Duration, ttl: Duration) {
        self.failures = 0;
        self.until = Some(now + ttl);
        self.next = Some(now + ttl.saturating_sub((ttl / 3).min(MAX_RENEWAL_MARGIN)));
    }

    /// Notes that no knock is due before something changes.
    pub(super) fn wait_for_change(&mut self) {
        self.next = None;
    }

    /// Notes that a knock led to nothing: soon again, then less often.
    pub(super) fn knock_failed(&mut self, now: Duration) {
        let pause =
            FIRST_RETRY_PAUSE.saturating_mul(1 << self.failures.min(5)).min(MAX_RETRY_PAUSE);
        self.failures += 1;
        self.next = Some(now + pause);
    }

    /// Returns true if a knock is due.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.next.is_some_and(|next| next <= now)
    }

    /// Returns the time of the next knock.
    pub(super) fn due_at(&self) -> Option<Duration> {
        self.next
    }

    /// Returns true while the last grant should hold.
    pub(super) fn grant_holds(&self, now: Duration) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Notes that something about our addresses or routes has changed; `moved`: our own address is
    /// another one.
    pub(super) fn network_changed(&mut self, now: Duration, moved: bool) {
        let calm = self.last.is_none_or(|last| last + MIN_UNRELATED_INTERVAL <= now);
        if moved || self.failures > 0 || calm {
            self.failures = 0;
            self.next = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn renewed_before_the_end() {
        for (ttl, renewed) in [(3, 2), (30, 20), (90, 60), (1800, 1740)] {
            let mut schedule = Schedule::default();
            schedule.knock_started(s(100));
            assert_eq!(schedule.due_at(), None, "not while one is on its way");
            schedule.knock_granted(s(100), s(ttl));
            assert!(!schedule.is_due(s(100 + renewed - 1)), "{ttl}");
            assert!(
                schedule.is_due(s(100 + renewed)) && schedule.grant_holds(s(100 + renewed)),
                "{ttl}"
            );
            assert!(!schedule.grant_holds(s(100 + ttl)), "{ttl}");
        }
    }

    #[test]
    fn failures_grow_rare_and_a_change_ends_the_pause() {
        let mut schedule = Schedule::default();
        let mut pauses = Vec::new();
        let mut now = s(0);
        for _ in 0..7 {
            schedule.knock_started(now);
            schedule.knock_failed(now);
            let due = schedule.due_at().unwrap_or_default();
            pauses.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        schedule.knock_started(now);
        schedule.knock_failed(now);
        schedule.network_changed(now, false);
        assert!(schedule.is_due(now));
    }

    #[test]
    fn a_change_elsewhere_is_no_reason_to_knock_every_time() {
        let mut schedule = Schedule::default();
        schedule.knock_started(s(0));
        schedule.knock_granted(s(0), s(1800));
        schedule.network_changed(s(3), false);
        assert!(!schedule.is_due(s(3)));
        schedule.network_changed(s(3), true);
        assert!(schedule.is_due(s(3)), "our address is another one");
        schedule.knock_started(s(3));
        schedule.knock_granted(s(3), s(1800));
        schedule.network_changed(s(20), false);
        assert!(schedule.is_due(s(20)), "another network may hide behind the same address");
    }

    #[test]
    fn after_a_night_it_is_due() {
        let mut schedule = Schedule::default();
        schedule.knock_started(s(0));
        schedule.knock_granted(s(0), s(60));
        assert!(schedule.is_due(s(30_000)) && !schedule.grant_holds(s(30_000)));
    }
}
