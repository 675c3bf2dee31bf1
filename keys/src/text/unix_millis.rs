//! Points in time of the wall clock.

use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01 00:00 UTC, without leap seconds. Arithmetic saturates.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMillis(u64);

impl UnixMillis {
    /// Moment before which no program of this version was made, 2026-01-01 00:00 UTC.
    pub const EARLIEST_BUILD: Self = Self(1_767_225_600_000);

    /// Returns true for a moment before this program was made: a clock that says so is wrong, as
    /// that of a machine without a battery is after its boot.
    #[must_use]
    pub fn is_before_build(self) -> bool {
        self < Self::EARLIEST_BUILD
    }

    /// Reads the wall clock. A clock before 1970 reads 0, so that every time stamp lies in the
    /// future and is refused.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Takes a number of milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Returns the number of milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns the number of whole seconds.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// Measures the time since an earlier moment; zero if that moment is later.
    #[must_use]
    pub const fn duration_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Subtracts another moment, with a sign: milliseconds, within `i64`.
    #[must_use]
    pub fn offset_from(self, other: Self) -> i64 {
        i64::try_from(i128::from(self.0) - i128::from(other.0)).unwrap_or(if self > other {
            i64::MAX
        } else {
            i64::MIN
        })
    }
}

/// The milliseconds of a duration; `u64::MAX` for those that do not fit.
#[must_use]
pub fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<SystemTime> for UnixMillis {
    fn from(time: SystemTime) -> Self {
        Self(whole_millis(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()))
    }
}

impl Add<Duration> for UnixMillis {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(whole_millis(duration)))
    }
}

impl Sub<Duration> for UnixMillis {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(whole_millis(duration)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ends_of_the_range() {
        let (first, last) = (UnixMillis::from_millis(0), UnixMillis::from_millis(u64::MAX));
        assert_eq!(first - Duration::from_secs(1), first);
        assert_eq!(last + Duration::MAX, last);
        assert_eq!(first.duration_since(last), Duration::ZERO);
        assert_eq!((last.offset_from(first), first.offset_from(last)), (i64::MAX, i64::MIN));
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(UnixMillis::from(before), first);
        assert!(UnixMillis::now().as_secs() > 1_700_000_000);
    }

    proptest! {
        #[test]
        fn there_and_back(start in 0..u64::MAX / 2, millis in 0..u64::MAX / 4) {
            let (start, span) = (UnixMillis::from_millis(start), Duration::from_millis(millis));
            prop_assert_eq!((start + span) - span, start);
            prop_assert_eq!((start + span).duration_since(start), span);
            prop_assert_eq!(u64::try_from((start + span).offset_from(start)), Ok(millis));
        }
    }
}
