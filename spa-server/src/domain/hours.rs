//! Hours of the week in which a client may knock: `Mon-Fri 08:00-18:00, Sat 10:00-12:00`, in the
//! server's time zone or in the one that stands behind them: `Mon-Fri 08:00-18:00 Europe/Berlin`.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::dates;

const DAY_NAMES: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const EVERY_DAY: u8 = 0b111_1111;
const MINUTES_PER_DAY: u16 = 24 * 60;

/// Windows of the week, in the local time of a zone.
#[derive(Clone, PartialEq, Eq)]
pub struct Hours {
    windows: Box<[Window]>,
    zone: TimeZone,
    /// The zone was named beside the hours.
    named: bool,
}

/// One window. It belongs to the days on which it starts; `to <= from` means that it ends on the
/// day after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    /// Bit 0 is Monday.
    days: u8,
    /// Minute of the day.
    from: u16,
    /// Minute of the day, up to 1440.
    to: u16,
}

/// A text that names no hours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no hours: write \"Mon-Fri 08:00-18:00\", \"22:00-06:00\", or several joined by \
     commas, followed by a time zone such as \"Europe/Berlin\" if it is not the server's (package \
     tzdata)"
)]
pub struct HoursError(pub String);

impl Hours {
    /// Reads hours; `zone` is the server's own, taken when the text names none (IANA names, and
    /// `UTC`).
    pub fn parse(text: &str, zone: &TimeZone) -> Result<Self, HoursError> {
        let is_zone = |word: &str| word.contains('/') || word == "UTC";
        let (hours, own) = match text.trim_end().rsplit_once(' ') {
            Some((hours, word)) if is_zone(word) => (hours, Some(word)),
            _ => (text, None),
        };
        let zone = own.map_or_else(|| Some(zone.clone()), |name| TimeZone::get(name).ok());
        let windows: Option<Box<[Window]>> = hours.split(',').map(parse_window).collect();
        windows
            .zip(zone)
            .map(|(windows, zone)| Self { windows, zone, named: own.is_some() })
            .ok_or_else(|| HoursError(text.to_owned()))
    }

    /// Returns true when a moment lies within; false for one outside jiff's years (-9999 to 9999).
    #[must_use]
    pub fn contains(&self, unix_ms: u64) -> bool {
        let Some(moment) =
            i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok())
        else {
            return false;
        };
        let local = self.zone.to_datetime(moment);
        let minute = u16::try_from(local.hour()).unwrap_or(0) * 60
            + u16::try_from(local.minute()).unwrap_or(0);
        let today = day_bit(local.weekday());
        let yesterday = if today == 1 { 1 << 6 } else { today >> 1 };
        self.windows.iter().any(|w| {
            if w.from < w.to {
                w.days & today != 0 && (w.from..w.to).contains(&minute)
            } else {
                (w.days & today != 0 && minute >= w.from)
                    || (w.days & yesterday != 0 && minute < w.to)
            }
        })
    }
}

impl Hours {
    /// A moment as it is called where these hours hold: `Thu 2026-12-24 22:00 Europe/Berlin`.
    #[must_use]
    pub fn local(&self, unix_ms: u64) -> String {
        dates::local(unix_ms, &self.zone)
    }
}

impl fmt::Display for Hours {
    /// As [`Hours::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, window) in self.windows.iter().enumerate() {
            let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
            let comma = if at == 0 { "" } else { ", " };
            write!(
                f,
                "{comma}{}{}-{}",
                format_days(window.days),
                time(window.from),
                time(window.to)
            )?;
        }
        match self.zone.iana_name().filter(|_| self.named) {
            Some(name) => write!(f, " {name}"),
            None => Ok(()),
        }
    }
}

/// The days of a window, with the space behind them; nothing for every day. They are one run of the
/// week, perhaps over its end, because nothing else can be written.
fn format_days(days: u8) -> String {
    let is = |day: usize| days & 1 << (day % 7) != 0;
    let name = |day: usize| DAY_NAMES.get(day % 7).copied().unwrap_or_default();
    let Some(first) = (0..7).find(|day| is(*day) && !is(day + 6)) else { return String::new() };
    let length = (0..7).take_while(|more| is(first + more)).count();
    if length == 1 {
        format!("{} ", name(first))
    } else {
        format!("{}-{} ", name(first), name(first + length - 1))
    }
}

impl fmt::Debug for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hours").field(&self.windows).finish()
    }
}

fn day_bit(day: Weekday) -> u8 {
    1 << day.to_monday_zero_offset().clamp(0, 6)
}

fn parse_window(text: &str) -> Option<Window> {
    let mut words = text.split_ascii_whitespace();
    let (days, times) = match (words.next()?, words.next(), words.next()) {
        (times, None, None) => (EVERY_DAY, times),
        (named, Some(times), None) => (parse_days(named)?, times),
        _ => return None,
    };
    let (from, to) = times.split_once('-')?;
    let (from, to) = (parse_minute(from)?, parse_minute(to)?);
    // 08:00-08:00 could mean never or always: refused, so that nobody has to guess.
    (from < MINUTES_PER_DAY && from != to).then_some(Window { days, from, to })
}

/// `Mon`, `Mon-Fri`, `Fri-Mon` (over the weekend).
fn parse_days(text: &str) -> Option<u8> {
    let index = |name: &str| DAY_NAMES.iter().position(|day| day.eq_ignore_ascii_case(name));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (index(first)?, index(last)?);
    let length = (last + 7 - first) % 7;
    Some((0..=length).fold(0, |bits, i| bits | 1 << ((first + i) % 7)))
}

/// `HH:MM`, up to `24:00`.
fn parse_minute(text: &str) -> Option<u16> {
    let two = |s: &str| {
        (s.len() == 2 && s.bytes().all(|b| b.is_ascii_digit()))
            .then(|| s.parse::<u16>().ok())
            .flatten()
    };
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute) = (two(hour)?, two(minute)?);
    let total = hour * 60 + minute;
    (minute < 60 && total <= MINUTES_PER_DAY).then_some(total)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ms(text: &str) -> u64 {
        u64::try_from(text.parse::<Timestamp>().unwrap().as_millisecond()).unwrap()
    }

    #[test]
    fn windows() {
        // 2026-11-23 is a Monday.
        let table = [
            ("Mon-Fri 08:00-18:00", "2026-11-23T07:59:59.999Z", false),
            ("Mon-Fri 08:00-18:00", "2026-11-23T08:00:00Z", true),
            ("Mon-Fri 08:00-18:00", "2026-11-23T17:59:59.999Z", true),
            ("Mon-Fri 08:00-18:00", "2026-11-23T18:00:00Z", false),
            ("Mon-Fri 08:00-18:00", "2026-11-27T12:00:00Z", true),
            ("Mon-Fri 08:00-18:00", "2026-11-28T12:00:00Z", false),
            ("22:00-06:00", "2026-11-23T23:00:00Z", true),
            ("22:00-06:00", "2026-11-23T05:59:00Z", true),
            ("22:00-06:00", "2026-11-23T06:00:00Z", false),
            ("22:00-06:00", "2026-11-23T12:00:00Z", false),
            // Friday's night ends on Saturday; Saturday's own night is not named.
            ("fri 22:00-06:00", "2026-11-27T22:00:00Z", true),
            ("fri 22:00-06:00", "2026-11-28T05:00:00Z", true),
            ("fri 22:00-06:00", "2026-11-27T05:00:00Z", false),
            ("fri 22:00-06:00", "2026-11-28T23:00:00Z", false),
            // Sunday's night reaches into Monday.
            ("Sun 22:00-06:00", "2026-11-23T01:00:00Z", true),
            ("Sat-Mon 00:00-24:00", "2026-11-22T23:59:59Z", true),
            ("Sat-Mon 00:00-24:00", "2026-11-24T00:00:00Z", false),
            ("Mon 08:00-09:00, Mon 10:00-11:00", "2026-11-23T09:30:00Z", false),
            ("Mon 08:00-09:00,Mon 10:00-11:00", "2026-11-23T10:30:00Z", true),
        ];
        for (hours, moment, expected) in table {
            let hours = Hours::parse(hours, &TimeZone::UTC).unwrap();
            assert_eq!(hours.contains(ms(moment)), expected, "{hours:?} {moment}");
        }
        assert!(!Hours::parse("00:00-24:00", &TimeZone::UTC).unwrap().contains(u64::MAX));
    }

    #[test]
    fn in_a_zone_of_their_own() {
        // Half past seven in London is half past eight in Berlin, and half past four in the
        // afternoon in Tokyo.
        let moment = ms("2026-11-23T07:30:00Z");
        for (hours, expected) in [
            ("Mon 08:00-09:00", false),
            ("Mon 08:00-09:00 UTC", false),
            ("Mon 08:00-09:00 Europe/Berlin", true),
            ("Sat 01:00-02:00, Mon 16:00-17:00 Asia/Tokyo", true),
        ] {
            assert_eq!(
                Hours::parse(hours, &TimeZone::UTC).unwrap().contains(moment),
                expected,
                "{hours}"
            );
        }
        for wrong in ["Mon 08:00-09:00 Europe/Nowhere", "Europe/Berlin", "Mon 08:00-09:00 Berlin"] {
            assert!(Hours::parse(wrong, &TimeZone::UTC).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shown_as_they_are_read() {
        for (text, shown) in [
            ("mon 08:00-09:00 Europe/Berlin", "Mon 08:00-09:00 Europe/Berlin"),
            ("Mon-Fri 08:00-18:00", "Mon-Fri 08:00-18:00"),
            ("22:00-06:00", "22:00-06:00"),
            ("mon-sun 22:00-24:00", "22:00-24:00"),
            ("Sat-Mon 00:00-24:00,fri 07:05-07:06", "Sat-Mon 00:00-24:00, Fri 07:05-07:06"),
            ("Tue-Mon 01:00-02:00", "01:00-02:00"),
            ("Sun-Fri 01:00-02:00", "Sun-Fri 01:00-02:00"),
        ] {
            let hours = Hours::parse(text, &TimeZone::UTC).unwrap();
            assert_eq!(hours.to_string(), shown);
            assert_eq!(Hours::parse(shown, &TimeZone::UTC).unwrap(), hours);
        }
    }

    #[test]
    fn local_time_with_summer_time() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let hours = Hours::parse("08:00-09:00", &berlin).unwrap();
        assert!(hours.contains(ms("2026-01-15T07:30:00Z")));
        assert!(!hours.contains(ms("2026-01-15T06:30:00Z")));
        assert!(hours.contains(ms("2026-07-15T06:30:00Z")));
        assert!(!hours.contains(ms("2026-07-15T07:30:00Z")));
        // 02:30 happens twice on 2026-10-25: both count.
        let night = Hours::parse("02:00-03:00", &berlin).unwrap();
        assert!(
            night.contains(ms("2026-10-25T00:30:00Z"))
                && night.contains(ms("2026-10-25T01:30:00Z"))
        );
    }

    /// Days on which the clocks change: an hour that does not come opens nothing, one that comes
    /// twice counts twice, and a night is as long as it is.
    #[test]
    fn days_of_23_and_25_hours() {
        const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
        // Its clocks change at midnight, as in Brazil until 2019, so a day has no 00:30 and another
        // two 23:30.
        const MIDNIGHT: &str = "<-03>3<-02>,M10.3.0/0,M2.3.0/0";
        const LORD_HOWE: &str = "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0";
        let table = [
            // 2026-03-29, 02:00 is 03:00.
            (BERLIN, "Sun 01:00-03:00", "2026-03-29T00:59:59Z", true),
            (BERLIN, "Sun 01:00-03:00", "2026-03-29T01:00:00Z", false),
            (BERLIN, "Sun 02:00-03:00", "2026-03-29T00:59:59Z", false),
            (BERLIN, "Sun 02:00-03:00", "2026-03-29T01:00:00Z", false),
            (BERLIN, "Sun 02:30-04:00", "2026-03-29T01:00:00Z", true),
            (BERLIN, "Sat 22:00-06:00", "2026-03-29T03:59:59Z", true),
            (BERLIN, "Sat 22:00-06:00", "2026-03-29T04:00:00Z", false),
            (BERLIN, "Sat 22:00-06:00", "2026-03-28T21:00:00Z", true),
            (BERLIN, "Sat 22:00-06:00", "2026-03-28T20:59:59Z", false),
            // 2026-10-25, 03:00 is 02:00.
            (BERLIN, "Sun 01:00-02:30", "2026-10-25T00:29:59Z", true),
            (BERLIN, "Sun 01:00-02:30", "2026-10-25T00:30:00Z", false),
            (BERLIN, "Sun 01:00-02:30", "2026-10-25T01:00:00Z", true),
            (BERLIN, "Sun 01:00-02:30", "2026-10-25T01:30:00Z", false),
            (BERLIN, "Sat 22:00-06:00", "2026-10-24T20:00:00Z", true),
            (BERLIN, "Sat 22:00-06:00", "2026-10-25T04:59:59Z", true),
            (BERLIN, "Sat 22:00-06:00", "2026-10-25T05:00:00Z", false),
            (BERLIN, "Sun 00:00-24:00", "2026-10-25T22:59:59Z", true),
            (BERLIN, "Sun 00:00-24:00", "2026-10-25T23:00:00Z", false),
            // 2026-10-18, 00:00 is 01:00: Saturday's window over midnight ends with Saturday.
            (MIDNIGHT, "Sat 23:00-01:00", "2026-10-18T02:59:59Z", true),
            (MIDNIGHT, "Sat 23:00-01:00", "2026-10-18T03:00:00Z", false),
            (MIDNIGHT, "Sun 00:00-01:30", "2026-10-18T03:00:00Z", true),
            (MIDNIGHT, "Sun 00:00-01:30", "2026-10-18T03:30:00Z", false),
            // 2026-02-15, 00:00 is 23:00 of the Saturday.
            (MIDNIGHT, "Sat 23:30-24:00", "2026-02-15T01:45:00Z", true),
            (MIDNIGHT, "Sat 23:30-24:00", "2026-02-15T02:15:00Z", false),
            (MIDNIGHT, "Sat 23:30-24:00", "2026-02-15T02:45:00Z", true),
            (MIDNIGHT, "Sun 00:00-01:00", "2026-02-15T02:15:00Z", false),
            (MIDNIGHT, "Sun 00:00-01:00", "2026-02-15T03:00:00Z", true),
            // 2026-10-04, 02:00 is 02:30; 2026-04-05, 02:00 is 01:30.
            (LORD_HOWE, "Sun 02:00-02:30", "2026-10-03T15:30:00Z", false),
            (LORD_HOWE, "Sun 02:30-02:31", "2026-10-03T15:30:00Z", true),
            (LORD_HOWE, "Sun 01:30-02:00", "2026-04-04T14:45:00Z", true),
            (LORD_HOWE, "Sun 01:30-02:00", "2026-04-04T15:15:00Z", true),
            (LORD_HOWE, "Sun 01:30-02:00", "2026-04-04T15:30:00Z", false),
        ];
        for (zone, hours, moment, expected) in table {
            let zone = TimeZone::posix(zone).unwrap();
            let read = Hours::parse(hours, &zone).unwrap();
            assert_eq!(read.contains(ms(moment)), expected, "{hours} {moment}");
        }
    }

    #[test]
    fn bad() {
        for text in [
            "",
            ",",
            "Mon",
            "08:00",
            "8:00-18:00",
            "08:00-25:00",
            "08:60-09:00",
            "24:00-06:00",
            "08:00-08:00",
            "Mo 08:00-18:00",
            "Mon-Fri",
            "Mon Tue 08:00-09:00",
            "08:00-18:00,",
            "Mon-Fri-Sun 08:00-09:00",
            "08:00–18:00",
            "+8:00-09:00",
            "24:01-24:02",
        ] {
            assert_eq!(Hours::parse(text, &TimeZone::UTC), Err(HoursError(text.to_owned())));
        }
    }
}
