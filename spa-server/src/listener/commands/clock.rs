//! State of the kernel's clock (adjtimex(2)).
#![allow(unsafe_code)]

/// `Some(true)`: a time service keeps it within bounds. `None`: the kernel does not tell.
pub(super) fn is_synchronised() -> Option<bool> {
    // SAFETY: all fields of `timex` are integers, for which zero is a value; `modes` 0 only reads.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a `timex` of ours that lives through the call, and the kernel
    // writes no more than that.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    (state >= 0).then_some(state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_tells() {
        let state = super::is_synchronised();
        assert!(state.is_some(), "{}", std::io::Error::last_os_error());
    }
}
