//! Acks that leave the way that the knock came: by its interface, to the neighbour that brought it.
//!
//! For a service that may make no internet socket, so that nothing in it can speak to a network,
//! whatever becomes of it. The price: no route is asked, and no firewall rule of this host sees the
//! ack (as none sees the knock). A host whose way to its clients is IPsec needs the raw sockets.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Socket, Type};

use crate::domain::datagram::LinkAddress;

/// A packet socket that receives nothing.
pub(super) struct WayBack(Socket);

impl WayBack {
    /// # Errors
    /// Missing `CAP_NET_RAW`.
    pub(super) fn open_socket() -> io::Result<Self> {
        // Protocol 0 is no packet's: never bound, it never receives (packet(7)).
        Socket::new(Domain::PACKET, Type::DGRAM.nonblocking().cloexec(), None).map(Self)
    }

    /// Sends a whole IP packet.
    ///
    /// # Errors
    /// The interface is gone or down; full buffers.
    pub(super) fn send_packet(
        &self,
        link: LinkAddress,
        six: bool,
        packet: &[u8],
    ) -> io::Result<()> {
        let protocol = if six { libc::ETH_P_IPV6 } else { libc::ETH_P_IP } as u16;
        let interface =
            libc::c_int::try_from(link.interface).map_err(|_| io::ErrorKind::InvalidInput)?;
        let to = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: protocol.to_be(),
            sll_ifindex: interface,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: link.length,
            sll_addr: link.address,
        };
        // SAFETY: both buffers are whole and their sizes are told; the kernel only reads them.
        let sent = unsafe {
            libc::sendto(
                self.0.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
                (&raw const to).cast(),
                size_of_val(&to) as libc::socklen_t,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
