//! What the kernel knows about its clock: adjtimex(2).
#![cfg_attr(all(target_os = "linux", feature = "linux"), allow(unsafe_code))]

/// Whether something keeps the kernel's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(all(target_os = "linux", feature = "linux")), allow(dead_code))]
pub(crate) enum Clock {
    /// By NTP or the like; the largest error in milliseconds.
    Kept {
        /// Milliseconds.
        error_ms: i64,
    },
    /// Nobody does, as far as the kernel knows.
    Alone,
    /// This system does not tell.
    Unknown,
}

/// Asks the kernel.
#[cfg(all(target_os = "linux", feature = "linux"))]
pub(crate) fn state() -> Clock {
    // SAFETY: a timex is plain numbers, for which zeros are a valid value; `modes` 0 changes
    // nothing.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer leads to a timex of our own that outlives the call.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    if state < 0 {
        return Clock::Unknown;
    }
    if state == libc::TIME_ERROR || timex.status & libc::STA_UNSYNC != 0 {
        return Clock::Alone;
    }
    // In microseconds, 32 bits wide on some machines.
    #[allow(clippy::useless_conversion)]
    let error_us = i64::from(timex.maxerror);
    Clock::Kept { error_ms: error_us / 1000 }
}

/// Nobody to ask.
#[cfg(not(all(target_os = "linux", feature = "linux")))]
pub(crate) fn state() -> Clock {
    Clock::Unknown
}
