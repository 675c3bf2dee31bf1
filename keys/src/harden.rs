//! Hardening of a process before it touches a secret.

/// Forbids core dumps of this process, and tracing by others of the same user (prctl(2),
/// `PR_SET_DUMPABLE`): a crash must not write keys to a disk. Best effort; a kernel that refuses,
/// or is not Linux, leaves things as they were.
pub fn forbid_core_dumps() {
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_dumpable(false);
}

/// Makes a write beyond the limit of a file's size (`ulimit -f`) an error that is told, where the
/// signal SIGXFSZ would kill without a word and leave half a file.
pub fn outlive_file_limits() {
    let mut signals = nix::sys::signal::SigSet::empty();
    signals.add(nix::sys::signal::Signal::SIGXFSZ);
    // Best effort: without it things are as they were.
    let _ = signals.thread_block();
}
