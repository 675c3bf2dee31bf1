//! Test connections to a TCP port.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

/// Time for which refusals are taken for a firewall that is still opening.
const REFUSAL_GRACE: Duration = Duration::from_secs(1);
/// Pause after a refusal.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// Longest timeout of one try.
const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Reason why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeError {
    /// Refused all the time: the way is free and nothing listens, or it is made to look so.
    Refused,
    /// No answer.
    Silent,
}

/// Connection that is made while something else is done.
pub(crate) struct Connecting(Socket);

impl Connecting {
    /// Begins a connection.
    pub(crate) fn start(target: SocketAddr) -> Option<Self> {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None).ok()?;
        socket.set_nonblocking(true).ok()?;
        match socket.connect(&target.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => None,
            _ => Some(Self(socket)),
        }
    }

    /// Takes the connection, when it is there within this time.
    pub(crate) fn finish(self, patience: Duration) -> Option<TcpStream> {
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        let mut ready = [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut ready, timeout) != Ok(1) || self.0.take_error().ok()?.is_some() {
            return None;
        }
        self.0.set_nonblocking(false).ok()?;
        Some(self.0.into())
    }
}

/// Connects again and again until it works or time is up. Each try is a new connection with a
/// patience that begins at `first` and doubles: waiting on one would cost the kernel's whole second
/// after a lost first packet.
pub(crate) fn connect_until(
    target: SocketAddr,
    first: Duration,
    deadline: Instant,
) -> Result<TcpStream, ProbeError> {
    let mut patience = first;
    let mut refused_since: Option<Instant> = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(if refused_since.is_some() {
                ProbeError::Refused
            } else {
                ProbeError::Silent
            });
        }
        match TcpStream::connect_timeout(&target, patience.min(left)) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                if refused_since.get_or_insert_with(Instant::now).elapsed() > REFUSAL_GRACE {
                    return Err(ProbeError::Refused);
                }
                std::thread::sleep(RETRY_PAUSE.min(left));
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => refused_since = None,
            // Unreachable by ICMP, or no permission by a local firewall: at once, so pause.
            Err(_) => std::thread::sleep(RETRY_PAUSE.min(left)),
        }
        patience = (patience * 2).min(MAX_CONNECT_TIMEOUT);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn reachable_refused() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let target = listener.local_addr().unwrap();
            let deadline = Instant::now() + Duration::from_secs(5);
            assert!(connect_until(target, RETRY_PAUSE, deadline).is_ok());
            let early = Connecting::start(target).unwrap().finish(Duration::from_secs(5)).unwrap();
            assert_eq!(early.peer_addr().unwrap(), target);
            drop(listener);
            let early = Connecting::start(target);
            assert!(early.and_then(|one| one.finish(Duration::from_secs(5))).is_none());
            let soon = Instant::now() + Duration::from_millis(50);
            assert_eq!(connect_until(target, RETRY_PAUSE, soon).err(), Some(ProbeError::Refused));
        }
    }
}
