//! The wall clock, and how it is shown.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) mod ntp;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// Unix milliseconds; 0 for a clock before 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The local time in so many seconds: `18:05:10`, with the date when it is another day.
pub(crate) fn local_time_in(seconds: u16) -> Option<String> {
    let zone = TimeZone::try_system().unwrap_or(TimeZone::UTC);
    let now = Timestamp::now();
    let then =
        now.checked_add(SignedDuration::from_secs(i64::from(seconds))).ok()?.to_zoned(zone.clone());
    let same_day = then.date() == now.to_zoned(zone).date();
    let time = then.strftime(if same_day { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" });
    Some(time.to_string())
}

/// Now in UTC: `2026-05-01 12:00:00 UTC`.
pub(crate) fn utc_now() -> String {
    Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Our clock minus the server's, milliseconds.
pub(crate) fn offset(server_ms: u64) -> i64 {
    let ours = i64::try_from(now_ms()).unwrap_or(i64::MAX);
    ours.saturating_sub(i64::try_from(server_ms).unwrap_or(i64::MAX))
}

/// Time since some moment, which goes on while the machine sleeps, and which no setting of the
/// clock changes where the system has such a clock.
pub(crate) fn awake_and_asleep() -> Duration {
    #[cfg(target_os = "linux")]
    if let Ok(time) = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME) {
        return time.into();
    }
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
