//! Durations as people write them: `90s`, `30m`, `1h30m`, `2d`.

use std::fmt::Write;
use std::time::Duration;

/// The longest ttl that a request can carry, in seconds.
const MAX_TTL: u64 = u16::MAX as u64;

/// Parses one or more numbers, each with a unit: s, m, h or d.
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no duration: write 90s, 30m, 2h or 1h30m");
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at_checked(digits).ok_or_else(wrong)?;
        let mut tail = tail.chars();
        let unit = match tail.next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            _ => return Err(wrong()),
        };
        let part = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(unit))
            .ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = tail.as_str();
    }
    if total == 0 { Err(wrong()) } else { Ok(total) }
}

/// A ttl, 1 to 65535 seconds.
pub(crate) fn ttl(text: &str) -> Result<u16, String> {
    let total = seconds(text)?;
    u16::try_from(total)
        .map_err(|_| format!("{total} s are more than a knock can ask for: {MAX_TTL} s, 18h12m15s"))
}

/// A timeout, up to a day.
pub(crate) fn timeout(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        total if total > 86_400 => Err("a timeout is at most 1d".to_owned()),
        total => Ok(Duration::from_secs(total)),
    }
}

/// `30m`, `1h30m`, `45s`.
pub(crate) fn show(total: u64) -> String {
    let mut out = String::new();
    for (size, unit) in [(3_600, 'h'), (60, 'm'), (1, 's')] {
        let count = match unit {
            'h' => total / size,
            _ => total / size % 60,
        };
        if count > 0 {
            let _ = write!(out, "{count}{unit}");
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (text, wanted) in [
            ("90s", 90),
            ("30m", 1800),
            ("2h", 7200),
            ("1h30m", 5400),
            ("65535s", 65535),
            ("18h12m15s", 65535),
        ] {
            assert_eq!(ttl(text), Ok(wanted), "{text}");
        }
        let bad = [
            "",
            "0s",
            "5",
            "m",
            "5x",
            "-5s",
            "1.5h",
            "65536s",
            "19h",
            "5 m",
            "99999999999999999999s",
            "5sm",
            "½h",
        ];
        for text in bad {
            assert!(ttl(text).is_err(), "{text}");
        }
        assert!(timeout("2d").is_err());
        for (total, shown) in [
            (0, "0s"),
            (59, "59s"),
            (1800, "30m"),
            (5400, "1h30m"),
            (65535, "18h12m15s"),
            (172_800, "48h"),
        ] {
            assert_eq!(show(total), shown);
        }
    }
}
