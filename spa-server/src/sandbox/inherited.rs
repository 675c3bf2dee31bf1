//! Descriptors that whoever started the server left open: no program gets them.

#![allow(unsafe_code)]

use std::io;

/// Marks everything but the standard three to be closed when a program starts.
///
/// # Errors
/// Descriptors cannot be listed.
pub fn keep_from_programs() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse::<libc::c_int>().ok()) else {
            continue;
        };
        if number > 2 {
            // SAFETY: plain numbers; a descriptor that is closed by now is an error, which is fine.
            unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}
