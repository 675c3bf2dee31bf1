//! Capture `udp`: a bound socket per knock port and family. No rights for ports above 1023, no
//! stealth: the ports are open, and every firewall on the way must let knocks through.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Arc, PoisonError};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrLike, recvmsg, setsockopt,
    sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::headers::endpoint_of;
use super::reply::{Replier, Sockets};
use super::{Capture, MAX_PAYLOAD};
use crate::domain::datagram::Datagram;
use crate::domain::ports::PortRange;

/// Most sockets of one family: each costs a descriptor, and services are often limited to 1 024 of
/// them.
pub const MAX_PORTS: usize = 256;

/// Receive buffer of a socket in bytes; the kernel caps it at `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Packets taken from one socket before the next ready one has its turn.
const MAX_PACKETS_PER_TURN: usize = 32;

/// A socket's port and family (`true`: IPv6).
pub type SocketKey = (u16, bool);

/// Makes a bound socket, `None` where the kernel has no such family.
pub type Binder = Box<dyn FnMut(SocketKey) -> io::Result<Option<Socket>> + Send>;

/// The bound sockets behind one epoll descriptor.
pub struct UdpCapture {
    epoll: Epoll,
    bound: BTreeMap<SocketKey, BoundSocket>,
    /// Ports that could not be bound, and why.
    missing: BTreeMap<SocketKey, String>,
    shared: Sockets,
    lost: u64,
    buffer: Box<[u8]>,
    control: Vec<u8>,
    binder: Binder,
}

struct BoundSocket {
    socket: Arc<Socket>,
    /// The kernel's running count of datagrams dropped at this socket.
    dropped: u32,
}

/// Outcome of one try to receive.
enum BatchEnd {
    Nothing,
    Skipped,
    Handed,
}

impl UdpCapture {
    /// Binds every port of `ports`, in IPv4 and, where the kernel has it, IPv6. One that another
    /// program has is left out, see [`Capture::missing_ports`]: any local user can hold one, and
    /// must not keep the server from starting.
    ///
    /// # Errors
    /// A port that needs `CAP_NET_BIND_SERVICE`, or more than [`MAX_PORTS`] ports.
    pub fn open(ports: &[PortRange]) -> io::Result<Self> {
        let mut capture = Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            bound: BTreeMap::new(),
            missing: BTreeMap::new(),
            shared: Sockets::default(),
            lost: 0,
            // One byte more than a knock has, so that a longer datagram shows itself as cut.
            buffer: vec![0; MAX_PAYLOAD + 1].into_boxed_slice(),
            control: cmsg_space!(libc::in6_pktinfo, u32),
            binder: Box::new(bind),
        };
        capture.set_ports(ports)?;
        Ok(capture)
    }

    /// Sends from the same sockets.
    #[must_use]
    pub fn replier(&self) -> Replier {
        Replier::from_bound_sockets(Arc::clone(&self.shared))
    }

    fn receive_batch(
        &mut self,
        key: SocketKey,
        each: &mut dyn FnMut(Datagram<'_>),
    ) -> io::Result<BatchEnd> {
        let Some(bound) = self.bound.get_mut(&key) else { return Ok(BatchEnd::Nothing) };
        let (port, six) = key;
        let (buffer, control) = (&mut self.buffer, &mut self.control);
        let message = if six {
            receive_datagram::<SockaddrIn6>(&bound.socket, buffer, control)
                .map(|m| m.map(|(message, from)| (message, SocketAddr::V6(from.into()))))
        } else {
            receive_datagram::<SockaddrIn>(&bound.socket, buffer, control)
                .map(|m| m.map(|(message, from)| (message, SocketAddr::V4(from.into()))))
        };
        let (message, source) = match message {
            Ok(Some(received)) => received,
            Ok(None) => return Ok(BatchEnd::Skipped),
            Err(Errno::EAGAIN) => return Ok(BatchEnd::Nothing),
            Err(e) => return Err(e.into()),
        };
        if let Some(dropped) = message.dropped {
            self.lost += u64::from(dropped.wrapping_sub(bound.dropped));
            bound.dropped = dropped;
        }
        // The kernel lets such a source pass; it would become an IPv4 client's address in every
        // later comparison.
        if matches!(source, SocketAddr::V6(a) if a.ip().to_ipv4_mapped().is_some()) {
            return Ok(BatchEnd::Skipped);
        }
        let Some((address, interface)) = message.to else { return Ok(BatchEnd::Skipped) };
        let Some(payload) = self.buffer.get(..message.length) else { return Ok(BatchEnd::Skipped) };
        each(Datagram {
            source,
            destination: endpoint_of(address, port, interface),
            payload,
            link: None,
        });
        Ok(BatchEnd::Handed)
    }
}

impl AsFd for UdpCapture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

impl Capture for UdpCapture {
    fn name(&self) -> &'static str {
        "udp"
    }

    fn drain(&mut self, limit: usize, each: &mut dyn FnMut(Datagram<'_>)) -> io::Result<usize> {
        let mut taken = 0;
        while taken < limit {
            let mut events = [EpollEvent::empty(); 64];
            let ready = match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            let before = taken;
            // The kernel hands out ready sockets in turn, so one flooded port does not starve the
            // others.
            for event in events.iter().take(ready) {
                let key = (event.data() as u16, event.data() >> 16 != 0);
                for _ in 0..MAX_PACKETS_PER_TURN.min(limit - taken) {
                    match self.receive_batch(key, each)? {
                        BatchEnd::Nothing => break,
                        BatchEnd::Skipped | BatchEnd::Handed => taken += 1,
                    }
                }
            }
            if taken == before {
                break;
            }
        }
        Ok(taken)
    }

    fn set_ports(&mut self, ports: &[PortRange]) -> io::Result<()> {
        let wanted: BTreeSet<u16> =
            ports.iter().flat_map(|r| r.first..=r.last).take(MAX_PORTS + 1).collect();
        if wanted.len() > MAX_PORTS {
            let text = format!(
                "capture udp takes at most {MAX_PORTS} knock ports: it binds a socket for each"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        // All new sockets first: when one must not be bound, the old ports go on working.
        let keys = wanted.iter().flat_map(|port| [(*port, false), (*port, true)]);
        let (new, missing) = self.bind_keys(keys.collect())?;
        let old: Vec<SocketKey> =
            self.bound.keys().filter(|(port, _)| !wanted.contains(port)).copied().collect();
        for bound in old.into_iter().filter_map(|key| self.bound.remove(&key)) {
            self.epoll.delete(&*bound.socket)?;
        }
        self.missing = missing;
        self.add_sockets(new)
    }

    fn retry_ports(&mut self) {
        let missing: Vec<SocketKey> = self.missing.keys().copied().collect();
        if let Ok((new, missing)) = self.bind_keys(missing)
            && !new.is_empty()
            && self.add_sockets(new).is_ok()
        {
            self.missing = missing;
        }
    }

    fn missing_ports(&self) -> Vec<String> {
        let name = |(port, six): &SocketKey| {
            format!("udp/{port} over {}", if *six { "IPv6" } else { "IPv4" })
        };
        self.missing.iter().map(|(key, why)| format!("{}: {why}", name(key))).collect()
    }

    fn bind_by(&mut self, binder: Binder) {
        self.binder = binder;
    }

    fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

/// Sockets by their keys, and why others could not be bound.
type BoundOrNot = (BTreeMap<SocketKey, BoundSocket>, BTreeMap<SocketKey, String>);

impl UdpCapture {
    /// Binds those of these that are not bound yet.
    fn bind_keys(&mut self, keys: Vec<SocketKey>) -> io::Result<BoundOrNot> {
        let (mut new, mut missing) = BoundOrNot::default();
        for key in keys.into_iter().filter(|key| !self.bound.contains_key(key)) {
            match (self.binder)(key) {
                Ok(Some(socket)) => {
                    new.insert(key, BoundSocket { socket: Arc::new(socket), dropped: 0 });
                }
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    missing.insert(key, error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        Ok((new, missing))
    }

    fn add_sockets(&mut self, new: BTreeMap<SocketKey, BoundSocket>) -> io::Result<()> {
        for (key @ (port, six), bound) in new {
            let data = u64::from(port) | u64::from(six) << 16;
            self.epoll.add(&*bound.socket, EpollEvent::new(EpollFlags::EPOLLIN, data))?;
            self.bound.insert(key, bound);
        }
        let shared =
            self.bound.iter().map(|(key, bound)| (*key, Arc::clone(&bound.socket))).collect();
        *self.shared.write().unwrap_or_else(PoisonError::into_inner) = shared;
        Ok(())
    }
}

/// A bound socket, or `None` where the kernel has no IPv6.
pub(crate) fn bind(key: SocketKey) -> io::Result<Option<Socket>> {
    let (port, six) = key;
    let (domain, address): (_, IpAddr) = if six {
        (Domain::IPV6, Ipv6Addr::UNSPECIFIED.into())
    } else {
        (Domain::IPV4, Ipv4Addr::UNSPECIFIED.into())
    };
    let named = |e: io::Error| {
        let hint = match e.kind() {
            io::ErrorKind::AddrInUse => {
                "another program uses it; stop it, or choose another knock port or capture ring"
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher one"
            }
            _ => "cannot bind the knock port",
        };
        io::Error::new(e.kind(), format!("udp port {port} on {address}: {e}: {hint}"))
    };
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = match Socket::new(domain, kind, Some(Protocol::UDP)) {
        Err(e) if six && e.raw_os_error() == Some(libc::EAFNOSUPPORT) => return Ok(None),
        other => other?,
    };
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    setsockopt(&socket, sockopt::RxqOvfl, &1)?;
    if six {
        socket.set_only_v6(true)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    }
    match socket.bind(&SocketAddr::new(address, port).into()) {
        // IPv6 switched off by net.ipv6.conf.all.disable_ipv6.
        Err(e) if six && e.kind() == io::ErrorKind::AddrNotAvailable => Ok(None),
        other => other.map_err(named).map(|()| Some(socket)),
    }
}

struct ReceivedMessage {
    length: usize,
    /// Destination address and receiving interface; `None` for broadcast and multicast.
    to: Option<(IpAddr, u32)>,
    dropped: Option<u32>,
}

/// Receives one datagram. `None`: one that is too long, or without a source.
fn receive_datagram<S: SockaddrLike>(
    socket: &Socket,
    buffer: &mut [u8],
    control: &mut [u8],
) -> Result<Option<(ReceivedMessage, S)>, Errno> {
    let mut data = [IoSliceMut::new(buffer)];
    let received =
        recvmsg::<S>(socket.as_raw_fd(), &mut data, Some(control), MsgFlags::MSG_DONTWAIT)?;
    let mut message = ReceivedMessage { length: received.bytes, to: None, dropped: None };
    for item in received.cmsgs()? {
        match item {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                let [packet, local] = [info.ipi_addr, info.ipi_spec_dst].map(|a| a.s_addr);
                // They differ when the packet was broadcast: only one host is knocked at.
                if packet == local {
                    message.to = Some((Ipv4Addr::from(packet.to_ne_bytes()).into(), 0));
                }
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                if !address.is_multicast() {
                    message.to = Some((address.into(), info.ipi6_ifindex));
                }
            }
            ControlMessageOwned::RxqOvfl(count) => message.dropped = Some(count),
            _ => {}
        }
    }
    let cut = received.flags.contains(MsgFlags::MSG_TRUNC);
    Ok(received.address.filter(|_| !cut).map(|from| (message, from)))
}
