//! Errors that hosts and routers report on our packets (ICMP, RFC 792; ICMPv6, RFC 4443).

use std::io::ErrorKind;
use std::net::UdpSocket;

/// Error reported by somebody on the way. Nobody proves who has sent it: it is a hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IcmpError {
    /// The port is refused, as a closed one is.
    Refused,
    /// The host is not reached, or something on the way prohibits it.
    Unreachable,
}

impl IcmpError {
    /// Reads how the kernel tells it; nothing for errors of another kind.
    pub(crate) fn of(kind: ErrorKind) -> Option<Self> {
        match kind {
            ErrorKind::ConnectionRefused => Some(Self::Refused),
            ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::PermissionDenied => Some(Self::Unreachable),
            _ => None,
        }
    }
}

/// Has the kernel tell this socket of such errors, which it else does for connected sockets only
/// (ip(7), IP_RECVERR). Elsewhere than on Linux, silence stays silence.
pub(super) fn ask_for_errors(socket: &UdpSocket) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use nix::sys::socket::{setsockopt, sockopt};
        let is_v4 = socket.local_addr().is_ok_and(|local| local.is_ipv4());
        // Without it there is one hint less.
        let _less = if is_v4 {
            setsockopt(socket, sockopt::Ipv4RecvErr, &true)
        } else {
            setsockopt(socket, sockopt::Ipv6RecvErr, &true)
        };
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = socket;
}
