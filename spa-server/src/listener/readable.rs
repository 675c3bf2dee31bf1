//! File descriptors of ours in tokio's poll.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

struct Descriptor<T>(T);

impl<T: AsFd> AsRawFd for Descriptor<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Owner of a descriptor that becomes readable.
pub struct Readable<T: AsFd>(AsyncFd<Descriptor<T>>);

impl<T: AsFd> Readable<T> {
    /// Registers for reading.
    ///
    /// # Errors
    /// No room in the poll. Panics outside of a tokio runtime with I/O enabled, as everything of
    /// tokio's does.
    pub fn register(inner: T) -> io::Result<Self> {
        // SAFETY: `as_raw_fd` asks `as_fd`, whose lifetime says that the descriptor is open as long
        // as `inner` lives; every `T` here owns one descriptor for life, so it is the same at
        // registration and at the end.
        let registered =
            unsafe { AsyncFd::register_with_interest(Descriptor(inner), Interest::READABLE) };
        registered.map(Self).map_err(|error| io::Error::other(error.to_string()))
    }

    /// Waits until it is readable. Readiness stays until [`Readable::take_waiting`] finds that
    /// nothing waits any more: tokio's poll tells of news only once.
    ///
    /// # Errors
    /// The runtime is going away.
    pub async fn wait_readable(&mut self) -> io::Result<()> {
        self.0.readable_mut().await?.retain_ready();
        Ok(())
    }

    /// Takes what waits; `take` answers how much that was, and zero ends the readiness.
    ///
    /// # Errors
    /// What `take` says.
    pub fn take_waiting(
        &mut self,
        take: impl FnOnce(&mut T) -> io::Result<usize>,
    ) -> io::Result<()> {
        let taken = self.0.try_io_mut(Interest::READABLE, |inner| match take(&mut inner.0)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        });
        match taken {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }

    /// The owner of the descriptor.
    pub fn get_ref(&self) -> &T {
        &self.0.get_ref().0
    }

    /// The owner of the descriptor, to be changed.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.0.get_mut().0
    }
}
