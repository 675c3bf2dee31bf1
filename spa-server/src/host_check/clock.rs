//! Check that the kernel's clock is synchronised: knocks carry the time.
#![allow(unsafe_code)]

use std::io;
use std::time::Duration;

use spa_keys::{Severity, UnixMillis};

use super::{HostFinding, HostSubject};

/// State of the kernel's clock (adjtimex(2)).
#[derive(Clone, Copy, Debug)]
struct KernelClock {
    /// Neither `STA_UNSYNC` nor `TIME_ERROR`.
    synchronised: bool,
    /// `maxerror`.
    at_most: Duration,
}

/// Reads whether a time service keeps the clock; `None`: the kernel does not tell.
pub(crate) fn is_clock_synchronised() -> Option<bool> {
    read_clock().ok().map(|state| state.synchronised)
}

/// Describes a clock that says a time before this program was made, as after a boot without a
/// battery; `None`: it does not.
pub(crate) fn describe_wrong_clock() -> Option<String> {
    let now = UnixMillis::now();
    now.is_before_build().then(|| {
        let seconds = i64::try_from(now.as_secs()).unwrap_or_default();
        let shown = jiff::Timestamp::from_second(seconds).unwrap_or_default();
        format!(
            "the clock is wrong: {shown} is before this program was made; no client can knock \
             until it is set: timedatectl set-ntp true"
        )
    })
}

/// Judges the kernel's clock by the window in which knocks are accepted.
pub(super) fn check_clock(past: Duration, future: Duration) -> HostFinding {
    match describe_wrong_clock() {
        Some(problem) => HostFinding::new(Severity::Error, HostSubject::Clock, problem),
        None => judge_clock(read_clock(), past, future),
    }
}

fn judge_clock(state: io::Result<KernelClock>, past: Duration, future: Duration) -> HostFinding {
    let (past, future) = (past.as_secs(), future.as_secs());
    let say = |weight, text| HostFinding::new(weight, HostSubject::Clock, text);
    match state {
        Err(error) => say(
            Severity::Unknown,
            format!(
                "the kernel does not tell whether the clock is synchronised ({error}); see: \
                 timedatectl"
            ),
        ),
        Ok(KernelClock { synchronised: true, at_most }) if at_most.as_secs() < future => say(
            Severity::Ok,
            format!("the clock is synchronised, off by {} at most", format_offset(at_most)),
        ),
        Ok(KernelClock { synchronised: true, at_most }) => say(
            Severity::Warning,
            format!(
                "the clock counts as synchronised but may be off by {}, and knocks are taken from \
                 {past} s ago to {future} s ahead; see: chronyc tracking",
                format_offset(at_most)
            ),
        ),
        Ok(KernelClock { synchronised: false, at_most }) => say(
            Severity::Warning,
            format!(
                "the clock is not synchronised (by the kernel's estimate it is off by up to {}): \
                a knock is refused when it seems older than {past} s or more than {future} s \
                ahead; start a time service: timedatectl set-ntp true",
                format_offset(at_most)
            ),
        ),
    }
}

/// Reads and sets nothing, so it needs no capability.
fn read_clock() -> io::Result<KernelClock> {
    // SAFETY: timex is plain numbers, for which zero is a value; with `modes` 0 the kernel only
    // fills it.
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&mut timex), timex)
    };
    if state == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(KernelClock {
        synchronised: state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0,
        at_most: Duration::from_micros(u64::try_from(timex.maxerror).unwrap_or_default()),
    })
}

fn format_offset(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis().max(1))
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_of_it() {
        let at = |synchronised, ms| {
            let state = Ok(KernelClock { synchronised, at_most: Duration::from_millis(ms) });
            judge_clock(state, Duration::from_secs(30), Duration::from_secs(10))
        };
        assert_eq!(at(true, 12).severity, Severity::Ok);
        assert!(at(true, 12).problem.ends_with("off by 12 ms at most"));
        assert_eq!(at(true, 10_000).severity, Severity::Warning);
        assert_eq!(at(false, 12).severity, Severity::Warning);
        assert!(at(false, 16_000).problem.contains("up to 16.0 s"));
        let refused = judge_clock(
            Err(io::ErrorKind::PermissionDenied.into()),
            Duration::ZERO,
            Duration::ZERO,
        );
        assert_eq!(refused.severity, Severity::Unknown);
    }

    #[test]
    fn the_kernel_is_asked() {
        // Sandboxes that forbid the question exist; a kernel that answers does so with a bound.
        match read_clock() {
            Ok(state) => assert!(state.at_most > Duration::ZERO || !state.synchronised),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
    }
}
