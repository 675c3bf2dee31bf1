//! Moments at which access ends: a day, or an RFC 3339 time.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// A text that is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(super) enum MomentError {
    /// A time of a day without its distance from UTC.
    #[error("`{0}` does not say its time zone: end it with `Z` or `+02:00`, or write the day alone")]
    NoZone(String),
    /// Anything else.
    #[error("`{0}` is not a moment: write `2027-01-31` (that day included) or `2027-01-31T18:00:00Z`")]
    Malformed(String),
}

/// Reads the first moment at which access has ended, in Unix milliseconds. A day alone is included
/// to its end, in the server's time zone.
pub(super) fn parse(text: &str, zone: &TimeZone) -> Result<u64, MomentError> {
    let malformed = || MomentError::Malformed(text.to_owned());
    let moment = if text.len() == 10 {
        let day: Date = text.parse().map_err(|_| malformed())?;
        let after = day.tomorrow().map_err(|_| malformed())?;
        after.to_zoned(zone.clone()).map_err(|_| malformed())?.timestamp()
    } else {
        // jiff reads more forms than RFC 3339; a bracketed zone could disagree with its offset.
        if text.contains('[') {
            return Err(malformed());
        }
        text.parse::<Timestamp>().map_err(|_| match text.parse::<jiff::civil::DateTime>() {
            Ok(_) => MomentError::NoZone(text.to_owned()),
            Err(_) => malformed(),
        })?
    };
    u64::try_from(moment.as_millisecond()).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn good() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for (text, zone, expected) in [
            ("1970-01-01", &TimeZone::UTC, 86_400_000),
            ("2027-01-31", &TimeZone::UTC, 1_801_440_000_000),
            ("2027-01-31", &berlin, 1_801_436_400_000),
            ("2027-01-31T18:00:00Z", &berlin, 1_801_418_400_000),
            ("2027-01-31T18:00:00+02:00", &berlin, 1_801_411_200_000),
            ("2027-01-31 18:00:00Z", &berlin, 1_801_418_400_000),
        ] {
            assert_eq!(parse(text, zone), Ok(expected), "{text}");
        }
    }

    #[test]
    fn bad() {
        for text in [
            "",
            "2027",
            "2027-02-30",
            "31.01.2027",
            "tomorrow",
            "2027-1-31",
            "1969-01-01T00:00:00Z",
            "9999-12-31",
            "2027-01-31T18:00:00[UTC]",
            "äöüäö",
        ] {
            assert_eq!(parse(text, &TimeZone::UTC), Err(MomentError::Malformed(text.to_owned())), "{text}");
        }
        assert_eq!(
            parse("2027-01-31T18:00:00", &TimeZone::UTC),
            Err(MomentError::NoZone("2027-01-31T18:00:00".to_owned()))
        );
    }
}
