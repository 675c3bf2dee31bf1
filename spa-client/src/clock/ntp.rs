//! State of the kernel's clock: adjtimex(2).
#![cfg_attr(all(target_os = "linux", feature = "linux"), allow(unsafe_code))]

/// State of the kernel's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(all(target_os = "linux", feature = "linux")), allow(dead_code))]
pub(crate) enum KernelClock {
    /// Kept right by NTP or the like.
    Kept {
        /// Largest error, in milliseconds.
        error_ms: i64,
    },
    /// Nobody keeps it right, as far as the kernel knows.
    Alone,
    /// Not known: this system does not tell.
    Unknown,
}

/// Reads the state from the kernel.
#[cfg(all(target_os = "linux", feature = "linux"))]
pub(crate) fn read_kernel_clock() -> KernelClock {
    // SAFETY: a timex is plain numbers, for which zeros are a valid value; `modes` 0 changes
    // nothing.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer leads to a timex of our own that outlives the call.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    if state < 0 {
        return KernelClock::Unknown;
    }
    if state == libc::TIME_ERROR || timex.status & libc::STA_UNSYNC != 0 {
        return KernelClock::Alone;
    }
    // In microseconds, 32 bits wide on some machines.
    #[allow(clippy::useless_conversion)]
    let error_us = i64::from(timex.maxerror);
    KernelClock::Kept { error_ms: error_us / 1000 }
}

/// Returns that nothing is known.
#[cfg(not(all(target_os = "linux", feature = "linux")))]
pub(crate) fn read_kernel_clock() -> KernelClock {
    KernelClock::Unknown
}
