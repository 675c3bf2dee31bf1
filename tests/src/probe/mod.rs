//! What a port looks like from outside, and services to look at.

mod echo;

pub use echo::{EchoServer, Held, UdpEcho};

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::Family;
use crate::netns::Host;

/// How a TCP port answers a connection attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpProbe {
    /// The handshake was completed.
    Open,
    /// A reset came back.
    Refused,
    /// An ICMP error came back, or the neighbour does not exist.
    Unreachable,
    /// Nothing came back in time.
    Silent,
}

/// How a UDP port answers a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpProbe {
    /// A datagram came back.
    Answered,
    /// ICMP port unreachable came back.
    Refused,
    /// Another ICMP error came back, or the neighbour does not exist.
    Unreachable,
    /// Nothing came back in time.
    Silent,
}

/// Tries to connect and gives up after `patience`.
pub fn tcp(host: &Host, target: SocketAddr, patience: Duration) -> TcpProbe {
    tcp_from(host, Family::of(target.ip()).any(0), target, patience)
}

/// The same from a given source address and port (0: any).
pub fn tcp_from(host: &Host, source: SocketAddr, target: SocketAddr, patience: Duration) -> TcpProbe {
    match connect(host, source, target, patience) {
        Ok(_) => TcpProbe::Open,
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => TcpProbe::Refused,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => TcpProbe::Silent,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::PermissionDenied => {
                TcpProbe::Unreachable
            }
            _ => panic!("cannot probe {target} from {source}: {error}"),
        },
    }
}

/// Sends a datagram and waits for what comes back.
pub fn udp(host: &Host, target: SocketAddr, patience: Duration) -> UdpProbe {
    let socket = crate::raw::udp_socket(host, Family::of(target.ip()), 0);
    socket.set_read_timeout(Some(patience)).expect("a timeout");
    // Connected, so that the kernel tells this socket of ICMP errors.
    socket.connect(target).unwrap_or_else(|error| panic!("cannot connect to {target}: {error}"));
    let sent = socket.send(b"probe");
    match sent.and_then(|_| socket.recv(&mut [0; 2048])) {
        Ok(_) => UdpProbe::Answered,
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused => UdpProbe::Refused,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => UdpProbe::Silent,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::PermissionDenied => {
                UdpProbe::Unreachable
            }
            _ => panic!("cannot probe {target}: {error}"),
        },
    }
}

/// Connects and keeps the connection to an [`EchoServer`].
pub fn hold(host: &Host, target: SocketAddr, patience: Duration) -> Held {
    let stream = connect(host, Family::of(target.ip()).any(0), target, patience)
        .unwrap_or_else(|error| panic!("cannot connect to {target} from {host:?}: {error}"));
    Held::new(stream)
}

fn connect(host: &Host, source: SocketAddr, target: SocketAddr, patience: Duration) -> io::Result<Socket> {
    let socket = host.run(|| {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None).expect("a TCP socket");
        socket.bind(&SockAddr::from(source)).unwrap_or_else(|error| panic!("cannot bind {source}: {error}"));
        socket
    });
    socket.connect_timeout(&SockAddr::from(target), patience)?;
    Ok(socket)
}
