//! Packets that a `log group N` rule hands to us (linux/netfilter/nfnetlink_log.h).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::message::{self, NetlinkMessage};
use super::nla::Nla;
use super::socket::{NetlinkError, NetlinkSocket};

/// `NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET`
const PACKET: u16 = 4 << 8;
/// `NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG`
const CONFIG: u16 = 4 << 8 | 1;

/// `NFULA_CFG_CMD`, and the command `NFULNL_CFG_CMD_BIND` in it.
const CFG_CMD: u16 = 1;
const BIND: u8 = 1;
/// `NFULA_CFG_MODE`: be32 copy range, u8 mode, u8 padding; the mode `NFULNL_COPY_PACKET`.
const CFG_MODE: u16 = 2;
const COPY_PACKET: u8 = 2;
/// `NFULA_CFG_QTHRESH`: messages that the kernel gathers before it wakes us.
const CFG_THRESHOLD: u16 = 5;

/// `NFULA_PACKET_HDR`: be16 ethertype, u8 hook, u8 padding.
const PACKET_HDR: u16 = 1;
/// `NFULA_PAYLOAD`: from the IP header on.
const PAYLOAD: u16 = 9;
/// `NFULA_PREFIX`
const PREFIX: u16 = 10;

/// A logged packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NflogPacket<'a> {
    /// Ethertype: 0x0800 IPv4, 0x86dd IPv6.
    pub ethertype: u16,
    /// The rule's prefix, empty when it has none.
    pub prefix: &'a str,
    /// The packet from its IP header on, cut to the copy range.
    pub payload: &'a [u8],
}

/// One NFLOG group.
#[derive(Debug)]
pub struct NflogSocket {
    netlink: NetlinkSocket,
    overflows: u64,
}

impl AsFd for NflogSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netlink.as_fd()
    }
}

impl NflogSocket {
    /// Binds to a group and asks for up to `copy` bytes of each packet, each one at once.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_ADMIN`, and when another process reads this group.
    pub fn bind(group: u16, copy: u32) -> io::Result<Self> {
        let mut netlink = NetlinkSocket::open()?;
        let mut mode = [0; 6];
        if let Some((range, rest)) = mode.split_first_chunk_mut::<4>() {
            *range = copy.to_be_bytes();
            if let Some(m) = rest.first_mut() {
                *m = COPY_PACKET;
            }
        }
        // The kernel takes one command per message before it takes the group's settings.
        for body in
            [&(|n: &mut Nla| n.put_u8(CFG_CMD, BIND)) as &dyn Fn(&mut Nla), &|n: &mut Nla| {
                n.put(CFG_MODE, &mode);
                n.put_u32(CFG_THRESHOLD, 1);
            }]
        {
            let request = message::single(CONFIG, message::ACK, 0, group, body);
            netlink
                .request("nflog group", &request, &mut |_| ())
                .map_err(|e: NetlinkError| e.source)?;
        }
        Ok(Self { netlink, overflows: 0 })
    }

    /// Hands the waiting packets to `each`, at most `limit` of the kernel's datagrams (one packet
    /// each, as a rule); returns how many packets. Zero: nothing waits. Never blocks. A queue that
    /// overflowed is counted and read on.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn drain(
        &mut self,
        limit: usize,
        each: &mut dyn FnMut(NflogPacket<'_>),
    ) -> io::Result<usize> {
        let mut packets = 0;
        let mut hand = |m: NetlinkMessage<'_>| {
            if let Some(packet) = packet(&m) {
                packets += 1;
                each(packet);
            }
        };
        loop {
            match self.netlink.drain(limit, &mut hand) {
                Ok(_) => return Ok(packets),
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => self.overflows += 1,
                Err(e) => return Err(e),
            }
        }
    }

    /// Number of times that the queue overflowed since the last call; at least so many packets are
    /// lost.
    pub fn take_overflows(&mut self) -> u64 {
        std::mem::take(&mut self.overflows)
    }
}

fn packet<'a>(message: &NetlinkMessage<'a>) -> Option<NflogPacket<'a>> {
    if message.kind != PACKET {
        return None;
    }
    let attrs = message.attrs();
    let header = attrs.get(PACKET_HDR)?.first_chunk::<2>()?;
    Some(NflogPacket {
        ethertype: u16::from_be_bytes(*header),
        prefix: attrs.text(PREFIX).unwrap_or_default(),
        payload: attrs.get(PAYLOAD)?,
    })
}
