//! Moments at which access ends: a day, or an RFC 3339 time.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// A text that is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum MomentError {
    /// A time of a day without its distance from UTC.
    #[error(
        "`{0}` does not say its time zone: end it with `Z` or `+02:00`, or write the day alone"
    )]
    NoZone(String),
    /// Anything else.
    #[error(
        "`{0}` is not a moment: write `2027-01-31` (that day included) or `2027-01-31T18:00:00Z`"
    )]
    Malformed(String),
    /// No minute; the text is escaped.
    #[error("`{0}` is not a moment: write `2026-12-24 22:00` or `2026-12-24T22:00:00Z`")]
    NoMinute(String),
}

/// Reads the first moment at which access has ended, in Unix milliseconds. A day alone is included
/// to its end, in the server's time zone.
pub(crate) fn parse(text: &str, zone: &TimeZone) -> Result<u64, MomentError> {
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

/// Reads a moment that an operator asks about: `2026-12-24 22:00` in the server's time zone, or an
/// RFC 3339 time.
///
/// # Errors
/// [`MomentError::NoMinute`], with the forms.
pub(crate) fn at(text: &str, zone: &TimeZone) -> Result<u64, MomentError> {
    let malformed = || MomentError::NoMinute(text.escape_debug().to_string());
    // A day alone would be its first minute for one reader and its last for another.
    if text.contains('[') || text.len() <= 10 {
        return Err(malformed());
    }
    let moment = match text.parse::<Timestamp>() {
        Ok(moment) => moment,
        Err(_) => {
            let local = text.parse::<jiff::civil::DateTime>().map_err(|_| malformed())?;
            local.to_zoned(zone.clone()).map_err(|_| malformed())?.timestamp()
        }
    };
    u64::try_from(moment.as_millisecond()).map_err(|_| malformed())
}

/// A moment for the eye: `Thu 2026-12-24 22:00:00 Europe/Berlin`.
#[must_use]
pub fn local(unix_ms: u64, zone: &TimeZone) -> String {
    let moment = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let Some(moment) = moment else { return "a moment beyond the calendar".to_owned() };
    let here = moment.to_zoned(zone.clone());
    let short = here.strftime("%Z").to_string();
    // "Etc/UTC", "Zulu" and a dozen more are one zone; a machine's choice among them tells nobody
    // anything.
    let name = zone.iana_name().filter(|_| short != "UTC").unwrap_or(&short);
    format!("{} {name}", here.strftime("%a %Y-%m-%d %H:%M:%S"))
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
    fn asked_about() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for (text, expected, shown) in [
            ("2026-12-24 22:00", 1_798_146_000_000, "Thu 2026-12-24 22:00:00 CET"),
            ("2026-07-01T09:30:15", 1_782_891_015_000, "Wed 2026-07-01 09:30:15 CEST"),
            ("2026-12-24T22:00:00Z", 1_798_149_600_000, "Thu 2026-12-24 23:00:00 CET"),
        ] {
            assert_eq!(at(text, &berlin), Ok(expected), "{text}");
            assert_eq!(local(expected, &berlin), shown);
        }
        assert_eq!(local(0, &TimeZone::UTC), "Thu 1970-01-01 00:00:00 UTC");
        for (zone, shown) in
            [("Etc/UTC", "UTC"), ("Zulu", "UTC"), ("Africa/Abidjan", "Africa/Abidjan")]
        {
            let zone = TimeZone::get(zone).unwrap();
            assert_eq!(local(0, &zone), format!("Thu 1970-01-01 00:00:00 {shown}"));
        }
        assert_eq!(local(u64::MAX, &berlin), "a moment beyond the calendar");
        for text in [
            "",
            "tomorrow",
            "2026-12-24",
            "22:00",
            "2026-12-24 25:00",
            "2026-12-24 22:00[UTC]",
            "1969-01-01 10:00",
        ] {
            assert!(
                at(text, &TimeZone::UTC)
                    .is_err_and(|error| error.to_string().contains("2026-12-24 22:00")),
                "{text}"
            );
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
            assert_eq!(
                parse(text, &TimeZone::UTC),
                Err(MomentError::Malformed(text.to_owned())),
                "{text}"
            );
        }
        assert_eq!(
            parse("2027-01-31T18:00:00", &TimeZone::UTC),
            Err(MomentError::NoZone("2027-01-31T18:00:00".to_owned()))
        );
    }
}
