//! The sockets of this network namespace (proc_net(5)).

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::domain::ports::Protocol;

/// What a socket does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// TCP in `LISTEN`; UDP that is connected to nobody.
    Listens,
    /// Connected.
    Connected,
}

/// One socket that is bound to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    /// TCP or UDP.
    pub(crate) protocol: Protocol,
    /// State.
    pub(crate) doing: Doing,
    /// Own address and port, IPv4 in its own form.
    pub(crate) local: SocketAddr,
    /// Address and port of the peer.
    pub(crate) remote: SocketAddr,
    /// Inode, which the file descriptors of processes name.
    pub(crate) inode: u64,
}

/// A table of sockets that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("which {name} sockets this host has: /proc/net/{name}: {source}")]
pub(crate) struct UnreadTable {
    name: &'static str,
    source: io::Error,
}

/// Reads all of them; an error for each table that cannot be read.
pub(crate) fn read_sockets() -> (Vec<Socket>, Vec<UnreadTable>) {
    let (mut sockets, mut unread) = (Vec::new(), Vec::new());
    for (protocol, name) in [
        (Protocol::Tcp, "tcp"),
        (Protocol::Tcp, "tcp6"),
        (Protocol::Udp, "udp"),
        (Protocol::Udp, "udp6"),
    ] {
        // Of the thread, which may live in a network namespace of its own.
        match fs::read_to_string(format!("/proc/thread-self/net/{name}")) {
            Ok(text) => {
                sockets.extend(text.lines().skip(1).filter_map(|line| socket(protocol, line)))
            }
            // Without IPv6 there are no such sockets.
            Err(error) if error.kind() == io::ErrorKind::NotFound && name.ends_with('6') => {}
            Err(source) => unread.push(UnreadTable { name, source }),
        }
    }
    (sockets, unread)
}

/// `sl local remote st queues timer retransmits uid timeout inode …`
fn socket(protocol: Protocol, line: &str) -> Option<Socket> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (local, remote) = (address(words.next()?)?, address(words.next()?)?);
    let doing = match (protocol, words.next()?) {
        // TCP_LISTEN; UDP shows an unconnected socket as TCP_CLOSE (net/tcp_states.h).
        (Protocol::Tcp, "0A") | (Protocol::Udp, "07") => Doing::Listens,
        (_, "01") => Doing::Connected,
        _ => return None,
    };
    let inode = words.nth(5)?.parse().ok()?;
    Some(Socket { protocol, doing, local, remote, inode })
}

/// `0100007F:0016`: groups of 32 bits in the host's byte order, then the port.
fn address(text: &str) -> Option<SocketAddr> {
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
            let has = |protocol, doing, local| {
                sockets.iter().any(|s| {
                    s.protocol == protocol && s.doing == doing && s.local == local && s.inode > 0
                })
            };
            assert!(has(Protocol::Tcp, Doing::Listens, at));
            assert!(has(Protocol::Tcp, Doing::Connected, stream.local_addr().unwrap()));
            assert!(has(Protocol::Udp, Doing::Listens, bound.local_addr().unwrap()));
        }
    }

    #[test]
    fn nonsense_is_passed_over() {
        for line in
            ["", "0:", "0: 0100007F:0016", "0: 1:2 3:4 0A", "0: 0100007F:0016 0:0 0A 0 0 0 0 0 x"]
        {
            assert_eq!(socket(Protocol::Tcp, line), None, "{line}");
        }
    }
}
