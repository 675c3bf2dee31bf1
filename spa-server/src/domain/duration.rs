//! Times with their unit: `200ms`, `30s`, `1h30m`, `7d`.

use std::time::Duration;

/// Units, longest first, with their milliseconds.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A text that is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// Digits alone.
    #[error("`{0}` has no unit: write `{0}s` for seconds (units: ms, s, m, h, d)")]
    NoUnit(String),
    /// Anything else that cannot be read.
    #[error("`{0}` is not a time: write `30s`, `200ms`, `1h30m` or `7d`, the longest unit first")]
    Malformed(String),
    /// More milliseconds than 64 bits hold.
    #[error("`{0}` is longer than any time")]
    TooLong(String),
}

/// Reads a time: whole numbers, each with its unit, longest unit first, no spaces.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let malformed = || DurationError::Malformed(text.to_owned());
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DurationError::NoUnit(text.to_owned()));
    }
    let too_long = || DurationError::TooLong(text.to_owned());
    let mut rest = text;
    let mut total = 0_u64;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(malformed)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let millis = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, ms)| *ms)
            .ok_or_else(malformed)?;
        if number.is_empty() || millis >= smallest {
            return Err(malformed());
        }
        let number: u64 = number.parse().map_err(|_| too_long())?;
        total =
            number.checked_mul(millis).and_then(|ms| total.checked_add(ms)).ok_or_else(too_long)?;
        smallest = millis;
        rest = tail;
    }
    if smallest == u64::MAX { Err(malformed()) } else { Ok(Duration::from_millis(total)) }
}

/// Writes a time as [`parse`] reads it, the shortest way: `16h40m`. Below a millisecond is cut off.
#[must_use]
pub fn show(time: Duration) -> String {
    let mut left = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, millis) in UNITS {
        if left >= millis {
            text.push_str(&format!("{}{unit}", left / millis));
            left %= millis;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn good() {
        for (text, millis, shown) in [
            ("0s", 0, "0s"),
            ("200ms", 200, "200ms"),
            ("30s", 30_000, "30s"),
            ("90s", 90_000, "1m30s"),
            ("1000m", 60_000_000, "16h40m"),
            ("1h30m", 5_400_000, "1h30m"),
            ("7d", 604_800_000, "7d"),
            ("1d2h3m4s5ms", 93_784_005, "1d2h3m4s5ms"),
            ("007s", 7_000, "7s"),
        ] {
            let time = parse(text).unwrap();
            assert_eq!(time, Duration::from_millis(millis), "{text}");
            assert_eq!(show(time), shown);
            assert_eq!(parse(&show(time)).unwrap(), time);
        }
    }

    #[test]
    fn bad() {
        use DurationError::{Malformed, NoUnit, TooLong};
        for text in [
            "", "s", "30 s", " 30s", "30s ", "-1s", "+1s", "1.5h", "30S", "1w", "30m1h", "1s1s",
            "1h30", "é", "3é", "1mss",
        ] {
            assert_eq!(parse(text), Err(Malformed(text.to_owned())), "{text}");
        }
        assert_eq!(parse("30"), Err(NoUnit("30".to_owned())));
        for text in [
            "99999999999999999999s",
            "18446744073709551615d",
            "213503982334d18446744073709551615ms",
        ] {
            assert_eq!(parse(text), Err(TooLong(text.to_owned())), "{text}");
        }
    }
}
