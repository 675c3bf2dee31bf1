//! What must be reachable, and what must not be, by what the clients were told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{SERVICES, TTL};

/// Clocks, timers and processors may be late by this much.
const SLACK: Duration = Duration::from_secs(2);

/// How a disturbance bears on what is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    /// What is granted may be out of reach, and knocks may fail.
    Deaf,
    /// The same, and rules may be missing: what is hidden may be seen.
    Bare,
}

/// One client at one service.
#[derive(Clone, Copy, Debug, Default)]
struct Door {
    /// Open at least until then.
    surely: Option<Instant>,
    /// Open at most until then.
    perhaps: Option<Instant>,
}

/// What is known.
pub(crate) struct Oracle {
    doors: Mutex<Vec<[Door; SERVICES.len()]>>,
    /// Disturbances begun and ended, of either kind: odd while one goes on.
    deaf: AtomicU64,
    bare: AtomicU64,
    /// Looks at what must be open, and at what must be shut.
    seen_open: AtomicU64,
    seen_shut: AtomicU64,
}

/// The moment at which something began, to ask whether anything has disturbed it.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    deaf: u64,
    bare: u64,
}

impl Oracle {
    pub(crate) fn new(clients: usize) -> Oracle {
        let none = || AtomicU64::new(0);
        Oracle {
            doors: Mutex::new(vec![Default::default(); clients]),
            deaf: none(),
            bare: none(),
            seen_open: none(),
            seen_shut: none(),
        }
    }

    /// Does something to the server.
    pub(crate) fn disturb<T>(&self, harm: Harm, work: impl FnOnce() -> T) -> T {
        let count = |one: &&AtomicU64| {
            one.fetch_add(1, Ordering::SeqCst);
        };
        let counters: &[&AtomicU64] = match harm {
            Harm::Deaf => &[&self.deaf],
            Harm::Bare => &[&self.deaf, &self.bare],
        };
        counters.iter().for_each(count);
        let done = work();
        counters.iter().for_each(count);
        done
    }

    pub(crate) fn now(&self) -> Moment {
        Moment { deaf: self.deaf.load(Ordering::SeqCst), bare: self.bare.load(Ordering::SeqCst) }
    }

    /// Whether nothing has harmed reachability since.
    pub(crate) fn was_calm(&self, since: Moment) -> bool {
        since.deaf.is_multiple_of(2) && self.deaf.load(Ordering::SeqCst) == since.deaf
    }

    /// Whether the rules were there all the time since.
    pub(crate) fn had_rules(&self, since: Moment) -> bool {
        since.bare.is_multiple_of(2) && self.bare.load(Ordering::SeqCst) == since.bare
    }

    /// A knock is about to be sent: it may open.
    pub(crate) fn note_tried(&self, client: usize, service: usize) {
        let door = &mut self.doors.lock().unwrap()[client][service];
        // Late packets are good for the window and one grant.
        door.perhaps = Some(Instant::now() + Duration::from_secs(30 + u64::from(TTL)) + SLACK);
    }

    /// The server has told: open for this long, by a knock of that moment.
    pub(crate) fn note_granted(&self, client: usize, service: usize, ttl_s: u16, sent: Instant) {
        let ttl = Duration::from_secs(ttl_s.into());
        let door = &mut self.doors.lock().unwrap()[client][service];
        door.surely = Some(sent + ttl);
        door.perhaps = Some(Instant::now() + ttl + SLACK);
    }

    /// Nothing is sure until the next grant.
    pub(crate) fn note_unsure(&self, client: usize, service: usize) {
        self.doors.lock().unwrap()[client][service].surely = None;
    }

    /// The server has told: closed.
    pub(crate) fn note_closed(&self, client: usize, service: usize) {
        let door = &mut self.doors.lock().unwrap()[client][service];
        *door = Door { surely: None, perhaps: Some(Instant::now() + SLACK) };
    }

    /// Whether it must be reachable for all of this time from now.
    pub(crate) fn must_be_open(&self, client: usize, service: usize, time: Duration) -> bool {
        let door = self.doors.lock().unwrap()[client][service];
        door.surely.is_some_and(|end| end > Instant::now() + time)
    }

    /// Whether it may be reachable now.
    pub(crate) fn may_be_open(&self, client: usize, service: usize) -> bool {
        let door = self.doors.lock().unwrap()[client][service];
        door.perhaps.is_some_and(|end| end > Instant::now())
    }

    pub(crate) fn note_seen(&self, open: bool) {
        let counter = if open { &self.seen_open } else { &self.seen_shut };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn summary(&self) -> String {
        let [open, shut] = [&self.seen_open, &self.seen_shut].map(|n| n.load(Ordering::Relaxed));
        format!("{open} doors seen open that must be, {shut} shut that must be")
    }

    /// A run that has looked at nothing shows nothing.
    pub(crate) fn assert_seen(&self, turns: u64) {
        let [open, shut] = [&self.seen_open, &self.seen_shut].map(|n| n.load(Ordering::Relaxed));
        assert!(open * 50 > turns && shut * 50 > turns, "{turns} turns; {}", self.summary());
    }
}
