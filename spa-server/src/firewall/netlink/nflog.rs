//! Packets that a `log group N` rule hands to us (linux/netfilter/nfnetlink_log.h).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::message::{self, NetlinkMessage};
use super::nla::Nla;
use super::socket::{NetlinkError, NetlinkSocket};

/// Message with a packet; `NFNL_SUBSYS_ULOG` in the high byte.
const NFULNL_MSG_PACKET: u16 = 4 << 8;
/// Message that sets a group up.
const NFULNL_MSG_CONFIG: u16 = 4 << 8 | 1;

/// Attribute with a command, and the command in it.
const NFULA_CFG_CMD: u16 = 1;
const NFULNL_CFG_CMD_BIND: u8 = 1;
/// Attribute: be32 copy range, u8 mode, u8 padding; and the mode that copies packets.
const NFULA_CFG_MODE: u16 = 2;
const NFULNL_COPY_PACKET: u8 = 2;
/// Attribute: number of messages that the kernel gathers before it wakes us.
const NFULA_CFG_QTHRESH: u16 = 5;

/// Attribute: be16 ethertype, u8 hook, u8 padding.
const NFULA_PACKET_HDR: u16 = 1;
/// Attribute: the packet from its IP header on.
const NFULA_PAYLOAD: u16 = 9;
/// Attribute: the rule's prefix.
const NFULA_PREFIX: u16 = 10;

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
                *m = NFULNL_COPY_PACKET;
            }
        }
        // The kernel takes one command per message before it takes the group's settings.
        for body in [
            &(|n: &mut Nla| n.put_u8(NFULA_CFG_CMD, NFULNL_CFG_CMD_BIND)) as &dyn Fn(&mut Nla),
            &|n: &mut Nla| {
                n.put(NFULA_CFG_MODE, &mode);
                n.put_u32(NFULA_CFG_QTHRESH, 1);
            },
        ] {
            let request = message::single(NFULNL_MSG_CONFIG, message::NLM_F_ACK, 0, group, body);
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
    if message.kind != NFULNL_MSG_PACKET {
        return None;
    }
    let attrs = message.attrs();
    let header = attrs.get(NFULA_PACKET_HDR)?.first_chunk::<2>()?;
    Some(NflogPacket {
        ethertype: u16::from_be_bytes(*header),
        prefix: attrs.text(NFULA_PREFIX).unwrap_or_default(),
        payload: attrs.get(NFULA_PAYLOAD)?,
    })
}
