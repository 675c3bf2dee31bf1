//! Clocks: the wall clock and its text forms, the clock since boot, and what the kernel knows of
//! its own clock.

mod ntp;

pub(crate) use ntp::{KernelClock, read_kernel_clock};

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use spa_keys::{UnixMillis, duration};

/// Formats the local time in so many seconds: `18:05:10`, with the date when it is another day.
pub(crate) fn format_local_time_in(seconds: u16) -> Option<String> {
    let zone = TimeZone::try_system().unwrap_or(TimeZone::UTC);
    let now = Timestamp::now();
    let then =
        now.checked_add(SignedDuration::from_secs(i64::from(seconds))).ok()?.to_zoned(zone.clone());
    let same_day = then.date() == now.to_zoned(zone).date();
    let time = then.strftime(if same_day { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" });
    Some(time.to_string())
}

/// Formats the present time in UTC: `2026-05-01 12:00:00 UTC`.
pub(crate) fn format_utc_now() -> String {
    Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Formats our clock minus the server's, milliseconds, for a sentence: `1m30s ahead of`.
pub(crate) fn format_offset(offset_ms: i64) -> String {
    let by = Duration::from_secs(offset_ms.unsigned_abs().div_ceil(1000));
    let direction = if offset_ms < 0 { "behind" } else { "ahead of" };
    format!("{} {direction}", duration::format_roughly(by))
}

/// Returns true if our clock says a time before this program was made.
pub(crate) fn is_before_build() -> bool {
    UnixMillis::now().is_before_build()
}

/// Returns true if a clock that ours differs from by this much says such a time.
pub(crate) fn was_before_build(offset_ms: i64) -> bool {
    let now = i64::try_from(UnixMillis::now().as_millis()).unwrap_or(i64::MAX);
    let then = u64::try_from(now.saturating_sub(offset_ms)).unwrap_or_default();
    UnixMillis::from_millis(then).is_before_build()
}

/// Measures our clock minus the server's, in milliseconds.
pub(crate) fn measure_offset(server_ms: u64) -> i64 {
    UnixMillis::now().offset_from(UnixMillis::from_millis(server_ms))
}

/// Describes such an offset: `this machine's clock is 10m1s behind that of gate`.
pub(crate) fn describe_offset(offset_ms: i64, host: &str) -> String {
    format!("this machine's clock is {} that of {host}", format_offset(offset_ms))
}

/// Reads a clock that goes on while the machine sleeps, and that no setting of the time changes
/// where the system has such a clock: time since some moment.
pub(crate) fn read_boot_clock() -> Duration {
    #[cfg(target_os = "linux")]
    if let Ok(time) = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME) {
        return time.into();
    }
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
