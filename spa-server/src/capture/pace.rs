//! When a reader should let packets gather before it looks again.
//!
//! Waking a sleeping thread for one packet costs some microseconds on either side, ten times what
//! reading it from the ring does. A reader that keeps up with a flood would pay that for every
//! packet. So it is woken at once while it is quiet, and in a flood it rests after each drain, as
//! network cards moderate their interrupts.

use std::time::{Duration, Instant};

/// Rest during a flood: the shortest sleep of tokio's timer. The ring holds 2 ms of a million
/// packets per second.
pub const FLOOD_REST: Duration = Duration::from_millis(1);

/// The rate is judged over no less than this.
const RATE_WINDOW: Duration = Duration::from_millis(2);

/// Packets per millisecond from which it is a flood: at this rate single wake-ups take some 5 % of
/// a core, and a thousand real knocks of eight stages per second are still fewer.
const FLOOD_PACKETS_PER_MS: u128 = 20;

/// The arrival rate of a capture, told by what its drains took.
#[derive(Debug)]
pub struct Pace {
    since: Instant,
    taken: usize,
    flood: bool,
}

impl Pace {
    /// Quiet since `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { since: now, taken: 0, flood: false }
    }

    /// To be called when a drain has emptied the capture of `taken` packets: how long to rest
    /// before waiting for readiness again. Never delays the first packet after quiet.
    pub fn next_pause(&mut self, now: Instant, taken: usize) -> Option<Duration> {
        self.taken = self.taken.saturating_add(taken);
        let window = now.saturating_duration_since(self.since);
        if window >= RATE_WINDOW {
            self.flood = self.taken as u128 * 1000 >= FLOOD_PACKETS_PER_MS * window.as_micros();
            self.since = now;
            self.taken = 0;
        }
        self.flood.then_some(FLOOD_REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Drains of `taken` packets every `every` microseconds; whether each rested.
    fn rests(pace: &mut Pace, start: Instant, every: u64, taken: usize, count: u32) -> Vec<bool> {
        (1..=count)
            .map(|i| pace.next_pause(start + Duration::from_micros(every) * i, taken).is_some())
            .collect()
    }

    #[test]
    fn a_thousand_knocks_of_eight_stages_per_second_are_no_flood() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(rests(&mut pace, start, 125, 1, 1000), [false; 1000]);
        assert_eq!(rests(&mut pace, start + Duration::from_secs(1), 1000, 8, 100), [false; 100]);
    }

    #[test]
    fn a_flood_is_noticed_in_two_milliseconds_and_forgotten_after() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let rested = rests(&mut pace, start, 10, 1, 300);
        assert_eq!(rested.iter().position(|rest| *rest), Some(199));
        assert!(rested.iter().skip(199).all(|rest| *rest));
        // Rested reads at the same rate.
        let start = start + Duration::from_millis(3);
        assert_eq!(rests(&mut pace, start, 1000, 100, 50), [true; 50]);
        assert_eq!(pace.next_pause(start + Duration::from_secs(60), 1), None);
    }

    #[test]
    fn a_clock_that_stands_still_is_harmless() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(pace.next_pause(start, usize::MAX), None);
        assert_eq!(pace.next_pause(start, usize::MAX), None);
    }
}
