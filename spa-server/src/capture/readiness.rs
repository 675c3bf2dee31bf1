//! A capture's readiness as tokio sees it.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Capture;

/// Tells when `capture` has packets waiting. Wait with `readable`, then call `drain` until it returns zero, and only
/// then `clear_ready`: tokio is told of new packets, not of old ones.
///
/// # Errors
/// No free file descriptor. Panics outside of a tokio runtime with I/O enabled, as everything of tokio's does.
pub fn watch(capture: &dyn Capture) -> io::Result<AsyncFd<OwnedFd>> {
    // A descriptor of its own, so that the capture stays free to be borrowed mutably.
    let descriptor = capture.as_fd().try_clone_to_owned()?;
    // SAFETY: the descriptor is open, belongs to the `AsyncFd` alone, and lives as long as it.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}
