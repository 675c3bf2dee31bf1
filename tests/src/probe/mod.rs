//! What a port looks like from outside, and services to look at.

mod echo;

pub use echo::{EchoServer, Held, UdpEcho};

use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::Family;
use crate::netns::Host;
use crate::packet::{self, Packet};

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
pub fn tcp_from(
    host: &Host,
    source: SocketAddr,
    target: SocketAddr,
    patience: Duration,
) -> TcpProbe {
    match connect(host, source, target, patience) {
        Ok(_) => TcpProbe::Open,
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => TcpProbe::Refused,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => TcpProbe::Silent,
            ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::PermissionDenied => TcpProbe::Unreachable,
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
    let mut received = sent.and_then(|_| socket.recv(&mut [0; 2048]));
    while received.as_ref().is_err_and(|error| error.kind() == ErrorKind::Interrupted) {
        received = socket.recv(&mut [0; 2048]);
    }
    match received {
        Ok(_) => UdpProbe::Answered,
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused => UdpProbe::Refused,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => UdpProbe::Silent,
            ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::PermissionDenied => UdpProbe::Unreachable,
            _ => panic!("cannot probe {target}: {error}"),
        },
    }
}

/// Sends an ICMP echo request from the host's own address and tells whether the reply came in time.
pub fn ping(host: &Host, target: IpAddr, patience: Duration) -> bool {
    static IDENTIFIER: AtomicU16 = AtomicU16::new(1);
    let identifier = IDENTIFIER.fetch_add(1, Ordering::Relaxed);
    let family = Family::of(target);
    let (domain, protocol, header, reply) = match family {
        Family::V4 => (Domain::IPV4, Protocol::ICMPV4, 20, 0),
        Family::V6 => (Domain::IPV6, Protocol::ICMPV6, 0, 129),
    };
    let socket = host.run(|| Socket::new(domain, Type::RAW, Some(protocol)).expect("a raw socket"));
    let request = packet::echo_request(host.address(family), target, identifier);
    let request = Packet::of_ip(&request).expect("an IP packet").segment;
    // Port 0: the kernel takes a port of a raw IPv6 socket for a protocol number.
    let sent = socket.send_to(&request, &SockAddr::from(SocketAddr::new(target, 0)));
    sent.unwrap_or_else(|error| panic!("cannot ping {target}: {error}"));
    let mut wanted = [reply, 0].to_vec();
    wanted.extend(&identifier.to_be_bytes());
    let deadline = Instant::now() + patience;
    let mut socket = socket;
    let mut buffer = [0; 2048];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        socket.set_read_timeout(Some(left)).expect("a timeout");
        // A raw IPv4 socket hands over the IP header as well.
        if let Ok(length) = socket.read(&mut buffer)
            && let Some([kind, code, _, _, high, low, ..]) = buffer[..length].get(header..)
            && [*kind, *code, *high, *low] == wanted[..]
        {
            return true;
        }
    }
}

/// Connects and keeps the connection to an [`EchoServer`].
pub fn hold(host: &Host, target: SocketAddr, patience: Duration) -> Held {
    let stream = connect(host, Family::of(target.ip()).any(0), target, patience)
        .unwrap_or_else(|error| panic!("cannot connect to {target} from {host:?}: {error}"));
    Held::new(stream)
}

fn connect(
    host: &Host,
    source: SocketAddr,
    target: SocketAddr,
    patience: Duration,
) -> io::Result<Socket> {
    let socket = host.run(|| {
        let socket =
            Socket::new(Domain::for_address(target), Type::STREAM, None).expect("a TCP socket");
        socket
            .bind(&SockAddr::from(source))
            .unwrap_or_else(|error| panic!("cannot bind {source}: {error}"));
        socket
    });
    socket.connect_timeout(&SockAddr::from(target), patience)?;
    Ok(socket)
}
