//! The one grammar of durations, for configurations and command lines: `200ms`, `30s`, `1h30m`,
//! `7d`.

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::unix_millis::whole_millis;

/// Units, longest first, with their milliseconds.
const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reason why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// Digits alone.
    #[error("`{0}` has no unit: write `{0}s` for seconds (units: ms, s, m, h, d)")]
    NoUnit(String),
    /// Anything else that cannot be read.
    #[error("`{}` is not a time: write `30s`, `200ms`, `1h30m` or `7d`", .0.escape_debug())]
    Malformed(String),
    /// More milliseconds than 64 bits hold.
    #[error("`{0}` is too long")]
    TooLong(String),
    /// Outside the caller's bounds.
    #[error("`{text}` is outside {} to {}", format(*.least), format(*.most))]
    OutOfBounds {
        /// The duration as written.
        text: String,
        /// Shortest that is allowed.
        least: Duration,
        /// Longest that is allowed.
        most: Duration,
    },
}

/// Reads a duration: one or more whole numbers, each with its unit, without spaces. They are added
/// up, so their order does not matter.
///
/// # Errors
/// [`DurationError`], but never [`DurationError::OutOfBounds`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let malformed = || DurationError::Malformed(text.to_owned());
    let too_long = || DurationError::TooLong(text.to_owned());
    if text.is_empty() {
        return Err(malformed());
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DurationError::NoUnit(text.to_owned()));
    }
    let mut rest = text;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(malformed)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let millis = TIME_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, ms)| *ms)
            .ok_or_else(malformed)?;
        if number.is_empty() {
            return Err(malformed());
        }
        let number: u64 = number.parse().map_err(|_| too_long())?;
        total =
            number.checked_mul(millis).and_then(|ms| total.checked_add(ms)).ok_or_else(too_long)?;
        rest = tail;
    }
    Ok(Duration::from_millis(total))
}

/// Reads a duration, as [`parse`], that the caller bounds.
///
/// # Errors
/// [`DurationError`].
pub fn parse_within(
    text: &str,
    bounds: RangeInclusive<Duration>,
) -> Result<Duration, DurationError> {
    let duration = parse(text)?;
    if bounds.contains(&duration) {
        return Ok(duration);
    }
    let (least, most) = bounds.into_inner();
    Err(DurationError::OutOfBounds { text: text.to_owned(), least, most })
}

/// Writes a duration as [`parse`] reads it, longest unit first: `16h40m`. Fractions of a
/// millisecond are cut off.
#[must_use]
pub fn format(duration: Duration) -> String {
    let mut left = whole_millis(duration);
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, millis) in TIME_UNITS {
        if left >= millis {
            let _infallible = write!(text, "{}{unit}", left / millis);
            left %= millis;
        }
    }
    text
}

/// Writes a duration for a person: as [`format`], without what nobody reads beside a day, and in
/// years where a clock must be wrong.
#[must_use]
pub fn format_roughly(duration: Duration) -> String {
    const DAY_S: u64 = 86_400;
    match duration.as_secs() {
        seconds if seconds >= 365 * DAY_S => format!("about {} years", seconds / (365 * DAY_S)),
        seconds if seconds >= DAY_S => format(Duration::from_secs(seconds / 3600 * 3600)),
        0 => format(duration),
        seconds => format(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rough() {
        for (seconds, written) in [
            (0, "0s"),
            (90, "1m30s"),
            (86_399, "23h59m59s"),
            (90_061, "1d1h"),
            (1_795_906_421, "about 56 years"),
        ] {
            assert_eq!(format_roughly(Duration::from_secs(seconds)), written);
        }
    }

    #[test]
    fn good() {
        for (text, millis, written) in [
            ("0s", 0, "0s"),
            ("200ms", 200, "200ms"),
            ("30s", 30_000, "30s"),
            ("90s", 90_000, "1m30s"),
            ("1000m", 60_000_000, "16h40m"),
            ("1h30m", 5_400_000, "1h30m"),
            ("30m1h", 5_400_000, "1h30m"),
            ("1s1s", 2_000, "2s"),
            ("1d500ms", 86_400_500, "1d500ms"),
            ("7d", 604_800_000, "7d"),
            ("1d2h3m4s5ms", 93_784_005, "1d2h3m4s5ms"),
            ("007s", 7_000, "7s"),
        ] {
            assert_eq!(parse(text).unwrap(), Duration::from_millis(millis), "{text}");
            assert_eq!(format(parse(text).unwrap()), written);
        }
    }

    #[test]
    fn bad() {
        for text in [
            "", "s", "30 s", " 30s", "30s ", "-1s", "+1s", "1.5h", "30S", "1w", "1h30", "é", "3é",
            "1mss", "5sm", "½h", "1h ",
        ] {
            assert_eq!(parse(text), Err(DurationError::Malformed(text.to_owned())), "{text}");
        }
        assert_eq!(parse("30"), Err(DurationError::NoUnit("30".to_owned())));
        for text in [
            "99999999999999999999s",
            "18446744073709551615d",
            "213503982334d18446744073709551615ms",
        ] {
            assert_eq!(parse(text), Err(DurationError::TooLong(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn bounds() {
        let day = || Duration::from_secs(1)..=Duration::from_secs(86_400);
        assert_eq!(parse_within("24h", day()), parse("1d"));
        assert_eq!(parse_within("1s", day()), parse("1s"));
        for text in ["0s", "999ms", "86401s"] {
            let error = parse_within(text, day()).unwrap_err();
            assert_eq!(error.to_string(), format!("`{text}` is outside 1s to 1d"));
        }
        assert!(matches!(parse_within("x", day()), Err(DurationError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn written_and_read_again(millis in any::<u64>()) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn order_does_not_matter(a in 0..1000_u64, b in 0..1000_u64) {
            prop_assert_eq!(parse(&format!("{a}h{b}ms")), parse(&format!("{b}ms{a}h")));
        }

        #[test]
        fn nothing_panics(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
