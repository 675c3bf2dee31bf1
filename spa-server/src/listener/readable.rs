//! File descriptors of ours in tokio's poll.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Anything with a descriptor that becomes readable.
pub struct Readable<T>(pub T);

impl<T: AsFd> AsRawFd for Readable<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Registers for reading.
///
/// # Errors
/// No room in the poll. Panics outside of a tokio runtime with I/O enabled, as everything of
/// tokio's does.
pub fn watch_readable<T: AsFd>(inner: T) -> io::Result<AsyncFd<Readable<T>>> {
    // SAFETY: `as_raw_fd` asks `as_fd`, whose lifetime says that the descriptor is open as long as
    // `inner` lives; every `T` here owns one descriptor for life, so it is the same at
    // registration and at the end.
    let registered =
        unsafe { AsyncFd::register_with_interest(Readable(inner), Interest::READABLE) };
    registered.map_err(|error| io::Error::other(error.to_string()))
}

/// Waits until it is readable; for ever when there is nothing to wait for. Readiness stays until
/// [`take_waiting`] finds that nothing waits any more: tokio's poll tells of news only once.
///
/// # Errors
/// The runtime is going away.
pub async fn wait_readable<T: AsFd>(source: &mut Option<AsyncFd<Readable<T>>>) -> io::Result<()> {
    match source {
        None => std::future::pending().await,
        Some(source) => {
            source.readable_mut().await?.retain_ready();
            Ok(())
        }
    }
}

/// Takes what waits; `take` answers how much that was, and zero ends the readiness.
///
/// # Errors
/// What `take` says.
pub fn take_waiting<T: AsFd>(
    source: &mut Option<AsyncFd<Readable<T>>>,
    take: impl FnOnce(&mut T) -> io::Result<usize>,
) -> io::Result<()> {
    let Some(source) = source else { return Ok(()) };
    let taken = source.try_io_mut(Interest::READABLE, |inner| match take(&mut inner.0)? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    });
    match taken {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        other => other,
    }
}
