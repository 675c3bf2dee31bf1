//! When a door is knocked at again. Without a clock of its own: the moment is an argument.

use std::time::Duration;

/// The longest time before the end at which a grant is renewed.
const MAX_RENEWAL_MARGIN: Duration = Duration::from_secs(60);
/// The first pause after a knock that led to nothing, doubled after each.
const FIRST_RETRY_PAUSE: Duration = Duration::from_secs(1);
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(30);
/// How often at most a change that does not concern our address leads to a knock.
const MIN_UNRELATED_INTERVAL: Duration = Duration::from_secs(10);
/// A clock that went on by more than this while we were not asked: the machine slept.
pub(super) const SLEEP_THRESHOLD: Duration = Duration::from_secs(5);

/// One door: a service at an address. Moments are those of a clock that goes on while the machine
/// sleeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Schedule {
    /// When it is knocked at next; nothing while a knock is on its way.
    next: Option<Duration>,
    last: Option<Duration>,
    failures: u32,
    /// The present grant's end.
    until: Option<Duration>,
}

impl Schedule {
    /// A knock has been sent.
    pub(super) fn knock_started(&mut self, now: Duration) {
        self.next = None;
        self.last = Some(now);
    }

    /// Granted for so long: renewed in the last third of it, a minute before the end at the
    /// earliest.
    pub(super) fn knock_granted(&mut self, now: Duration, ttl: Duration) {
        self.failures = 0;
        self.until = Some(now + ttl);
        self.next = Some(now + ttl.saturating_sub((ttl / 3).min(MAX_RENEWAL_MARGIN)));
    }

    /// It led to nothing: soon again, then less often.
    pub(super) fn knock_failed(&mut self, now: Duration) {
        let pause =
            FIRST_RETRY_PAUSE.saturating_mul(1 << self.failures.min(5)).min(MAX_RETRY_PAUSE);
        self.failures += 1;
        self.next = Some(now + pause);
    }

    /// Whether it is time.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.next.is_some_and(|next| next <= now)
    }

    /// When it will be.
    pub(super) fn due_at(&self) -> Option<Duration> {
        self.next
    }

    /// Whether the last grant should still hold.
    pub(super) fn grant_holds(&self, now: Duration) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Something about our addresses or routes has changed; `moved`: our own address is another
    /// one.
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
            let mut door = Schedule::default();
            door.knock_started(s(100));
            assert_eq!(door.due_at(), None, "not while one is on its way");
            door.knock_granted(s(100), s(ttl));
            assert!(!door.is_due(s(100 + renewed - 1)), "{ttl}");
            assert!(door.is_due(s(100 + renewed)) && door.grant_holds(s(100 + renewed)), "{ttl}");
            assert!(!door.grant_holds(s(100 + ttl)), "{ttl}");
        }
    }

    #[test]
    fn failures_grow_rare_and_a_change_ends_the_pause() {
        let mut door = Schedule::default();
        let mut pauses = Vec::new();
        let mut now = s(0);
        for _ in 0..7 {
            door.knock_started(now);
            door.knock_failed(now);
            let due = door.due_at().unwrap_or_default();
            pauses.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        door.knock_started(now);
        door.knock_failed(now);
        door.network_changed(now, false);
        assert!(door.is_due(now));
    }

    #[test]
    fn a_change_elsewhere_is_no_reason_to_knock_every_time() {
        let mut door = Schedule::default();
        door.knock_started(s(0));
        door.knock_granted(s(0), s(1800));
        door.network_changed(s(3), false);
        assert!(!door.is_due(s(3)));
        door.network_changed(s(3), true);
        assert!(door.is_due(s(3)), "our address is another one");
        door.knock_started(s(3));
        door.knock_granted(s(3), s(1800));
        door.network_changed(s(20), false);
        assert!(door.is_due(s(20)), "another network may hide behind the same address");
    }

    #[test]
    fn after_a_night_it_is_due() {
        let mut door = Schedule::default();
        door.knock_started(s(0));
        door.knock_granted(s(0), s(60));
        assert!(door.is_due(s(30_000)) && !door.grant_holds(s(30_000)));
    }
}
