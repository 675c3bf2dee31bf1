//! Sockets of this thread's network namespace (proc_net(5)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::{fs, io};

use crate::domain::ports::Protocol;

/// State of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketState {
    /// TCP in `LISTEN`; UDP that is connected to nobody.
    Listening,
    /// Connected.
    Connected,
}

/// Socket that is bound to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    /// TCP or UDP.
    pub(crate) protocol: Protocol,
    /// Role of the socket.
    pub(crate) state: SocketState,
    /// Address and port on this host; unspecified: all addresses.
    pub(crate) local: SocketAddr,
    /// Address and port of the peer; port 0 when there is none.
    pub(crate) remote: SocketAddr,
    /// Inode by which `/proc/PID/fd` names the socket.
    pub(crate) inode: u64,
}

/// Failure to read one of the kernel's socket tables.
#[derive(Debug, thiserror::Error)]
#[error("which {table} sockets this host has: /proc/net/{table}: {source}")]
pub(crate) struct SocketsError {
    /// `tcp`, `tcp6`, `udp` or `udp6`.
    table: &'static str,
    source: io::Error,
}

/// Reads all sockets, and an error for each table that cannot be read.
pub(crate) fn read_sockets() -> (Vec<Socket>, Vec<SocketsError>) {
    let (mut sockets, mut unread) = (Vec::new(), Vec::new());
    for (protocol, table) in [
        (Protocol::Tcp, "tcp"),
        (Protocol::Tcp, "tcp6"),
        (Protocol::Udp, "udp"),
        (Protocol::Udp, "udp6"),
    ] {
        // Of the thread, which may live in a network namespace of its own.
        match fs::read_to_string(format!("/proc/thread-self/net/{table}")) {
            Ok(text) => {
                sockets.extend(text.lines().skip(1).filter_map(|line| parse_socket(protocol, line)))
            }
            // Without IPv6 there are no such sockets.
            Err(error) if error.kind() == io::ErrorKind::NotFound && table.ends_with('6') => {}
            Err(source) => unread.push(SocketsError { table, source }),
        }
    }
    (sockets, unread)
}

/// `sl local remote st queues timer retransmits uid timeout inode …`
fn parse_socket(protocol: Protocol, line: &str) -> Option<Socket> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (local, remote) = (parse_address(words.next()?)?, parse_address(words.next()?)?);
    let state = match (protocol, words.next()?) {
        // TCP_LISTEN; UDP shows an unconnected socket as TCP_CLOSE (net/tcp_states.h).
        (Protocol::Tcp, "0A") | (Protocol::Udp, "07") => SocketState::Listening,
        (_, "01") => SocketState::Connected,
        _ => return None,
    };
    let inode = words.nth(5)?.parse().ok()?;
    Some(Socket { protocol, state, local, remote, inode })
}

/// `0100007F:0016`: groups of 32 bits in the host's byte order, then the port.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let group = |at: usize| {
        let hex = address.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(hex, 16).ok()?.to_ne_bytes())
    };
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(group(0)?).into(),
        32 => {
            let mut octets = [0; 16];
            for (at, four) in octets.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&group(at)?);
            }
            // One address, however the socket calls it.
            IpAddr::from(Ipv6Addr::from(octets)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    #[test]
    fn our_own_sockets_are_there() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(host).unwrap();
            let at = listener.local_addr().unwrap();
            let stream = TcpStream::connect(at).unwrap();
            let udp = UdpSocket::bind(host).unwrap().local_addr().unwrap();
            let bound = UdpSocket::bind(udp).unwrap();
            let (sockets, unread) = read_sockets();
            assert!(unread.is_empty(), "{unread:?}");
            let has = |protocol, state, local| {
                sockets.iter().any(|s| {
                    s.protocol == protocol && s.state == state && s.local == local && s.inode > 0
                })
            };
            assert!(has(Protocol::Tcp, SocketState::Listening, at));
            assert!(has(Protocol::Tcp, SocketState::Connected, stream.local_addr().unwrap()));
            assert!(has(Protocol::Udp, SocketState::Listening, bound.local_addr().unwrap()));
        }
    }

    #[test]
    fn nonsense_is_passed_over() {
        for line in
            ["", "0:", "0: 0100007F:0016", "0: 1:2 3:4 0A", "0: 0100007F:0016 0:0 0A 0 0 0 0 0 x"]
        {
            assert_eq!(parse_socket(Protocol::Tcp, line), None, "{line}");
        }
    }
}
