//! Test connections to a TCP port.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

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
            drop(listener);
            let soon = Instant::now() + Duration::from_millis(50);
            assert_eq!(connect_until(target, RETRY_PAUSE, soon).err(), Some(ProbeError::Refused));
        }
    }
}
