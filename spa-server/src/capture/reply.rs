//! Sends acks: a UDP datagram from the address and port that was knocked at, as if a socket were
//! bound there.
//!
//! A stateful NAT or firewall in front of the client lets in only what comes from where the client
//! has sent to. A bound socket would do, but an open port is what we avoid; so the whole IP packet
//! is written here and leaves by a raw socket. Its protocol is `IPPROTO_RAW`, which never receives
//! (raw(7)): a raw socket of protocol UDP would get a copy of every UDP packet of the host, at a
//! cost in each flood.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::sync::{Arc, PoisonError, RwLock};

use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, SockaddrIn6, sendmsg};
use socket2::{Domain, Protocol, Socket, Type};

use super::back::WayBack;
use super::name_missing_capability;
use super::packet::udp_packet;
use crate::domain::datagram::ReplyPath;

/// The bound sockets of capture `udp` by port and family (`true`: IPv6).
pub(super) type Sockets = Arc<RwLock<BTreeMap<(u16, bool), Arc<Socket>>>>;

/// Sends datagrams with a chosen source. Made once while the process has its rights; sending needs
/// none.
pub struct Replier(Means);

enum Means {
    /// `ip6` is missing where the kernel has no IPv6.
    Raw {
        ip4: Socket,
        ip6: Option<Socket>,
    },
    Bound(Sockets),
    Back(WayBack),
}

impl Replier {
    /// By raw sockets, one per family.
    ///
    /// # Errors
    /// Missing `CAP_NET_RAW`.
    pub fn open_raw() -> io::Result<Self> {
        let open = |domain| {
            let kind = Type::RAW.nonblocking().cloexec();
            Socket::new(domain, kind, Some(Protocol::from(libc::IPPROTO_RAW)))
        };
        let failed =
            |e| name_missing_capability(e, "sending acks without an open port", "CAP_NET_RAW");
        let ip6 = match open(Domain::IPV6) {
            Err(e) if e.raw_os_error() == Some(libc::EAFNOSUPPORT) => None,
            other => Some(other.map_err(failed)?),
        };
        Ok(Self(Means::Raw { ip4: open(Domain::IPV4).map_err(failed)?, ip6 }))
    }

    /// By raw sockets; or, where this service may make no internet socket at all
    /// (`RestrictAddressFamilies=` in its unit), the way that the knock came.
    ///
    /// # Errors
    /// Missing `CAP_NET_RAW`.
    pub fn raw_or_back() -> io::Result<Self> {
        match Socket::new(Domain::IPV4, Type::DGRAM, None) {
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => Self::open_link(),
            _ => Self::open_raw(),
        }
    }

    /// The way that the knock came.
    ///
    /// # Errors
    /// Missing `CAP_NET_RAW`.
    pub fn open_link() -> io::Result<Self> {
        let back = WayBack::open_socket().map_err(|e| {
            name_missing_capability(e, "sending acks without an open port", "CAP_NET_RAW")
        })?;
        Ok(Self(Means::Back(back)))
    }

    /// By the sockets that capture `udp` has bound.
    pub(super) fn from_bound_sockets(sockets: Sockets) -> Self {
        Self(Means::Bound(sockets))
    }

    /// Sends `payload` along a path; a link-local address needs its scope. Never blocks.
    ///
    /// # Errors
    /// What the kernel says: no route, full buffers, the first address is no address of this host
    /// (in IPv6; an IPv4 raw socket sends all the same, as a gateway that answers for others
    /// needs it); `InvalidInput` when the families differ, `NotFound` when capture `udp` no
    /// longer has the port.
    pub fn send(&self, path: ReplyPath, payload: &[u8]) -> io::Result<()> {
        let ReplyPath { from, to, link } = path;
        match &self.0 {
            Means::Raw { ip4, ip6 } => {
                let packet = udp_packet(from, to, payload).ok_or(io::ErrorKind::InvalidInput)?;
                let socket = match (from.is_ipv4(), ip6) {
                    (true, _) => ip4,
                    (false, Some(socket)) => socket,
                    (false, None) => return Err(io::ErrorKind::Unsupported.into()),
                };
                // A raw socket takes the port of its address for a protocol number.
                send_from(socket, from, SocketAddr::new(to.ip(), 0), scope_id(to), &packet)
            }
            Means::Back(back) => {
                let packet = udp_packet(from, to, payload).ok_or(io::ErrorKind::InvalidInput)?;
                back.send_packet(link.ok_or(io::ErrorKind::NotFound)?, from.is_ipv6(), &packet)
            }
            Means::Bound(sockets) => {
                let sockets = sockets.read().unwrap_or_else(PoisonError::into_inner);
                let socket =
                    sockets.get(&(from.port(), from.is_ipv6())).ok_or(io::ErrorKind::NotFound)?;
                send_from(socket, from, to, scope_id(to), payload)
            }
        }
    }
}

fn scope_id(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(a) => a.scope_id(),
    }
}

/// Sends with the source as ancillary data (ip(7) `IP_PKTINFO`, ipv6(7) `IPV6_PKTINFO`), so that
/// the routing rules of that source apply.
fn send_from(
    socket: &Socket,
    from: SocketAddr,
    to: SocketAddr,
    to_scope: u32,
    bytes: &[u8],
) -> io::Result<()> {
    let data = [IoSlice::new(bytes)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let sent = match (from, to) {
        (SocketAddr::V4(from), SocketAddr::V4(to)) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(from.ip().octets()) },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            let to = SockaddrIn::from(SocketAddrV4::new(*to.ip(), to.port()));
            sendmsg(
                socket.as_raw_fd(),
                &data,
                &[ControlMessage::Ipv4PacketInfo(&info)],
                flags,
                Some(&to),
            )
        }
        (SocketAddr::V6(from), SocketAddr::V6(to)) => {
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: from.ip().octets() },
                ipi6_ifindex: from.scope_id(),
            };
            let to = SockaddrIn6::from(SocketAddrV6::new(*to.ip(), to.port(), 0, to_scope));
            sendmsg(
                socket.as_raw_fd(),
                &data,
                &[ControlMessage::Ipv6PacketInfo(&info)],
                flags,
                Some(&to),
            )
        }
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    sent.map(|_| ()).map_err(io::Error::from)
}
