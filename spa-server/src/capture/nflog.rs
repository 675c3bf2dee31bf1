//! Capture `nflog`: packets that a rule of our own table logs to an NFLOG group
//! (linux/netfilter/nfnetlink_log.h).
//!
//! Which packets these are is the rule's business; it should stand in a prerouting chain ahead of
//! connection tracking and every foreign drop, and match `meta pkttype host` and the knock ports.
//!
//! The group is bound with threshold 1, one message per packet: a higher one is cheaper in a flood,
//! but an incomplete batch waits for a timer of 10 ms at the least. The protocol families are left
//! alone: `NFULNL_CFG_CMD_PF_BIND` would redirect foreign `LOG` and `TRACE` rules to us.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};

use super::filter::SNAP_LEN;
use super::headers::{self, Checksum};
use super::interfaces::Interfaces;
use super::netlink::{ATTRIBUTE_HEADER, make_message, split_attributes, split_messages};
use super::{Capture, PortSet, name_missing_capability};
use crate::domain::datagram::Datagram;
use crate::domain::ports::PortRange;

/// Receive buffer in bytes: some 8 000 packets.
const RECEIVE_BUFFER: usize = 8 << 20;
/// Bytes the kernel allocates per message at the least. Its default of a page per packet would fill
/// the receive buffer with air.
const MESSAGE_BUFFER: u32 = 512;
/// One message: a packet of [`SNAP_LEN`] and less than 300 bytes of attributes.
const READ_BUFFER: usize = 8 * 1024;

/// `NFNL_SUBSYS_ULOG` (linux/netfilter/nfnetlink.h) in the high byte of a message type.
const ULOG_SUBSYSTEM: u16 = 4 << 8;
const PACKET_MESSAGE: u16 = ULOG_SUBSYSTEM | libc::NFULNL_MSG_PACKET as u16;
const CONFIG_MESSAGE: u16 = ULOG_SUBSYSTEM | libc::NFULNL_MSG_CONFIG as u16;
/// `NLMSG_ERROR` (linux/netlink.h), which with code 0 is an acknowledgement.
const ERROR_MESSAGE: u16 = libc::NLMSG_ERROR as u16;

/// Length of `struct nfgenmsg`.
const FAMILY_HEADER: usize = 4;

/// A bound NFLOG group.
pub struct NflogCapture {
    socket: Socket,
    ports: PortSet,
    interfaces: Interfaces,
    buffer: Vec<u8>,
    /// Sequence number of the next packet, once the first has been seen.
    next: Option<u32>,
    lost: u64,
}

impl NflogCapture {
    /// Binds the group and takes its packets for `ports` on the named interfaces, or on all.
    ///
    /// # Errors
    /// Missing `CAP_NET_ADMIN`, a group that another program has, or too many port ranges.
    pub fn open(
        group: u16,
        ports: &[PortRange],
        interfaces: Option<Vec<String>>,
    ) -> io::Result<Self> {
        let failed = |e| name_missing_capability(e, "capture nflog", "CAP_NET_ADMIN");
        let interfaces = Interfaces::new(interfaces).map_err(failed)?;
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(failed)?;
        socket.bind_auto().map_err(failed)?;
        // Needs the same right as binding the group, which fails alike without it and when the
        // group is taken.
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).map_err(|e| failed(e.into()))?;
        // A full buffer shows in the sequence numbers; as an error it would also make the kernel
        // drop everything until the buffer is empty.
        socket.set_no_enobufs(true).map_err(failed)?;
        let mut buffer = Vec::with_capacity(READ_BUFFER);
        bind_group(&socket, group, &mut buffer).map_err(|e| match e.raw_os_error() {
            Some(libc::EPERM | libc::EBUSY) => io::Error::new(
                io::ErrorKind::AddrInUse,
                format!(
                    "capture nflog: another program listens to NFLOG group {group}; choose another \
                     group"
                ),
            ),
            _ => failed(e),
        })?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket, ports: PortSet::new(ports)?, interfaces, buffer, next: None, lost: 0 })
    }
}

impl AsFd for NflogCapture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Capture for NflogCapture {
    fn name(&self) -> &'static str {
        "nflog"
    }

    fn drain(&mut self, limit: usize, each: &mut dyn FnMut(Datagram<'_>)) -> io::Result<usize> {
        self.interfaces.apply_changes();
        let mut taken = 0;
        while taken < limit {
            match receive_datagram(&self.socket, &mut self.buffer) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            }
            taken += 1;
            for (_, body) in
                split_messages(&self.buffer).filter(|(kind, _)| *kind == PACKET_MESSAGE)
            {
                let logged =
                    Logged::parse_attributes(body.get(FAMILY_HEADER..).unwrap_or_default());
                if let Some(sequence) = logged.sequence {
                    if let Some(next) = self.next {
                        self.lost += u64::from(sequence.wrapping_sub(next));
                    }
                    self.next = Some(sequence.wrapping_add(1));
                }
                // Whether the card has checked the checksum, or has yet to complete it, NFLOG does
                // not tell.
                let datagram = headers::parse_packet(
                    logged.packet,
                    Checksum::VerifyOrPartial,
                    logged.interface,
                );
                if let Ok(datagram) = datagram
                    && self.interfaces.admits_interface(logged.interface)
                    && self.ports.contains(datagram.destination.port())
                {
                    each(datagram);
                }
            }
        }
        Ok(taken)
    }

    fn set_ports(&mut self, ports: &[PortRange]) -> io::Result<()> {
        self.ports = PortSet::new(ports)?;
        Ok(())
    }

    fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

/// The attributes we use of one logged packet.
#[derive(Default)]
struct Logged<'a> {
    packet: &'a [u8],
    interface: u32,
    sequence: Option<u32>,
}

impl<'a> Logged<'a> {
    fn parse_attributes(attributes_of_packet: &'a [u8]) -> Self {
        let word = |value: &[u8]| value.first_chunk().copied().map(u32::from_be_bytes);
        let mut logged = Self::default();
        for (kind, value) in split_attributes(attributes_of_packet) {
            match libc::c_int::from(kind) {
                libc::NFULA_PAYLOAD => logged.packet = value,
                libc::NFULA_IFINDEX_INDEV => logged.interface = word(value).unwrap_or(0),
                libc::NFULA_SEQ => logged.sequence = word(value),
                _ => {}
            }
        }
        logged
    }
}

/// Binds the group and waits for the kernel's answer, which it gives before `send` returns.
fn bind_group(socket: &Socket, group: u16, buffer: &mut Vec<u8>) -> io::Result<()> {
    let [range0, range1, range2, range3] = SNAP_LEN.to_be_bytes();
    let settings: [(libc::c_int, &[u8]); 5] = [
        (libc::NFULA_CFG_CMD, &[libc::NFULNL_CFG_CMD_BIND as u8]),
        // struct nfulnl_msg_config_mode: bytes to copy u32 | mode u8 | padding.
        (
            libc::NFULA_CFG_MODE,
            &[range0, range1, range2, range3, libc::NFULNL_COPY_PACKET as u8, 0],
        ),
        (libc::NFULA_CFG_QTHRESH, &1_u32.to_be_bytes()),
        (libc::NFULA_CFG_NLBUFSIZ, &MESSAGE_BUFFER.to_be_bytes()),
        (libc::NFULA_CFG_FLAGS, &(libc::NFULNL_CFG_F_SEQ as u16).to_be_bytes()),
    ];
    let mut body = vec![libc::AF_UNSPEC as u8, 0];
    body.extend(group.to_be_bytes());
    for (kind, value) in settings {
        body.extend(((ATTRIBUTE_HEADER + value.len()) as u16).to_ne_bytes());
        body.extend((kind as u16).to_ne_bytes());
        body.extend(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK;
    let message = make_message(CONFIG_MESSAGE, flags, &body);
    socket.send(&message, 0)?;
    loop {
        receive_datagram(socket, buffer)?;
        // Packets that were logged in between come first.
        let answer = split_messages(buffer).find(|(kind, _)| *kind == ERROR_MESSAGE);
        let Some((_, answer)) = answer else { continue };
        return match answer.first_chunk().copied().map(i32::from_ne_bytes) {
            Some(0) => Ok(()),
            Some(code) => Err(io::Error::from_raw_os_error(-code)),
            None => Err(io::ErrorKind::InvalidData.into()),
        };
    }
}

/// Reads one netlink datagram of the kernel.
fn receive_datagram(socket: &Socket, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    let (_, from): (usize, SocketAddr) = socket.recv_from(buffer, 0)?;
    // Port 0 is the kernel; a process with CAP_NET_ADMIN could send us packets that never were.
    if from.port_number() != 0 {
        buffer.clear();
    }
    Ok(())
}
