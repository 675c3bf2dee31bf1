//! Sending what no honest program sends: packets in somebody else's name.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, bind, socket};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::Family;
use crate::netns::Host;
use crate::packet::{self, Packet};

/// `IPPROTO_RAW` (netinet/in.h): the packet brings its own IP header.
const IPPROTO_RAW: i32 = 255;

/// A raw socket in a host, for any number of packets with forged sources.
#[derive(Debug)]
pub struct Forger {
    v4: Socket,
    v6: Socket,
}

impl Forger {
    /// Opens the sockets in the host.
    pub fn new(host: &Host) -> Forger {
        host.run(|| {
            let raw = |domain| {
                Socket::new(domain, Type::RAW, Some(Protocol::from(IPPROTO_RAW)))
                    .expect("a raw socket")
            };
            let (v4, v6) = (raw(Domain::IPV4), raw(Domain::IPV6));
            v4.set_header_included_v4(true).expect("IP_HDRINCL");
            v6.set_header_included_v6(true).expect("IPV6_HDRINCL");
            Forger { v4, v6 }
        })
    }

    /// Sends a whole IP packet, header included.
    pub fn send(&self, packet: &[u8]) {
        let target = Packet::of_ip(packet).expect("an IP packet").target;
        let socket = match Family::of(target) {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        // Port 0: the kernel takes a port of a raw IPv6 socket for a protocol number.
        retry(|| socket.send_to(packet, &SockAddr::from(SocketAddr::new(target, 0))))
            .unwrap_or_else(|error| panic!("cannot send a raw packet to {target}: {error}"));
    }

    /// A UDP datagram that claims to come from `source`.
    pub fn udp(&self, source: SocketAddr, target: SocketAddr, payload: &[u8]) {
        self.send(&packet::udp(source, target, payload));
    }

    /// A TCP SYN that claims to come from `source`.
    pub fn syn(&self, source: SocketAddr, target: SocketAddr) {
        self.send(&packet::tcp_syn(source, target));
    }
}

/// A plain UDP socket in the host; source port 0 leaves the choice to the kernel.
pub fn udp_socket(host: &Host, family: Family, source_port: u16) -> UdpSocket {
    udp_socket_at(host, family.any(source_port))
}

/// The same at one of the host's addresses.
pub fn udp_socket_at(host: &Host, local: SocketAddr) -> UdpSocket {
    host.run(|| UdpSocket::bind(local))
        .unwrap_or_else(|error| panic!("cannot bind {local} on {host:?}: {error}"))
}

/// One honest UDP datagram from this source port (0: any).
pub fn send_udp(host: &Host, source_port: u16, target: SocketAddr, payload: &[u8]) {
    let socket = udp_socket(host, Family::of(target.ip()), source_port);
    retry(|| socket.send_to(payload, target))
        .unwrap_or_else(|error| panic!("cannot send to {target}: {error}"));
}

/// An `AF_PACKET` socket in the calling thread's namespace that sees and sends whole Ethernet
/// frames of one device, both directions.
///
/// # Errors
/// When there is no such device, or this process may not open such a socket.
pub fn packet_socket(device: &str) -> io::Result<Socket> {
    let descriptor =
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
    let address = link_address(device)
        .ok_or_else(|| io::Error::other(format!("there is no device {device}")))?;
    bind(descriptor.as_raw_fd(), &address)?;
    Ok(Socket::from(descriptor))
}

/// The same in a host.
pub(crate) fn device_socket(host: &Host, device: &str) -> Socket {
    host.run(|| packet_socket(device))
        .unwrap_or_else(|error| panic!("no packet socket on {host:?}: {error}"))
}

/// Sends an Ethernet frame as it is.
pub fn send_frame(host: &Host, device: &str, frame: &[u8]) {
    device_socket(host, device)
        .send(frame)
        .unwrap_or_else(|error| panic!("cannot send on {device}: {error}"));
}

/// The device's link-layer address; with its index, which is what a packet socket binds to.
pub(crate) fn link_address(device: &str) -> Option<LinkAddr> {
    getifaddrs().ok()?.filter(|entry| entry.interface_name == device).find_map(|entry| {
        entry.address.as_ref().and_then(|address| address.as_link_addr().copied())
    })
}

/// A full device queue is the sender's affair, not a failure of the test.
pub(crate) fn retry(mut send: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    let mut result = Ok(0);
    let done = crate::wait_until(std::time::Duration::from_secs(5), || {
        result = send();
        !matches!(&result, Err(error) if error.raw_os_error() == Some(nix::Error::ENOBUFS as i32))
    });
    if done { result } else { Err(io::Error::from(io::ErrorKind::TimedOut)) }
}
