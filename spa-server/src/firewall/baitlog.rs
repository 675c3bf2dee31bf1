//! Bait hits as the kernel logs them. A rule that writes a ban into a set tells nobody; the log
//! beside it is the only message.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};

use super::netlink::{NflogPacket, NflogSocket};
use super::nftables::BAIT_PREFIX;
use crate::domain::ports::Protocol;

/// Bytes of each packet that we want: an IPv6 header, a few extension headers, the ports.
const COPY_BYTES: u32 = 256;
/// Packets handled before others get their turn.
const MAX_PACKETS_AT_ONCE: usize = 256;
/// Most IPv6 extension headers that are walked; a real packet has two or three.
const MAX_EXTENSION_HEADERS: usize = 8;

/// Somebody touched a bait and was banned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaitHit {
    /// Name of the bait group.
    pub group: String,
    /// Source; forged perhaps, as any source of a first packet.
    pub source: IpAddr,
    /// Protocol of the bait.
    pub protocol: Protocol,
    /// The port touched.
    pub port: u16,
}

/// The NFLOG group that bait rules log to, both families.
#[derive(Debug)]
pub struct BaitLog {
    nflog: NflogSocket,
}

impl AsFd for BaitLog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.nflog.as_fd()
    }
}

impl BaitLog {
    /// Listens to a group, [`super::Rules::bait_nflog`].
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_ADMIN`, and when another process reads this group.
    pub fn open(group: u16) -> io::Result<Self> {
        Ok(Self { nflog: NflogSocket::bind(group, COPY_BYTES)? })
    }

    /// Hands the waiting hits to `each`, a few hundred at most, so that a flood of forged hits does
    /// not keep the caller; returns how many. Never blocks.
    ///
    /// # Errors
    /// What the kernel says. Lost messages are no error, see [`Self::take_overflows`].
    pub fn drain(&mut self, each: &mut dyn FnMut(BaitHit)) -> io::Result<usize> {
        self.nflog.drain(MAX_PACKETS_AT_ONCE, &mut |packet| {
            if let Some(hit) = read_hit(packet) {
                each(hit);
            }
        })
    }

    /// Number of times that hits were lost since the last call because they came too fast.
    pub fn take_overflows(&mut self) -> u64 {
        self.nflog.take_overflows()
    }
}

fn read_hit(packet: NflogPacket<'_>) -> Option<BaitHit> {
    let group = packet.prefix.strip_prefix(BAIT_PREFIX)?.trim_end();
    let (source, protocol, transport) = match packet.payload.first()? >> 4 {
        4 => read_ipv4(packet.payload)?,
        6 => read_ipv6(packet.payload)?,
        _ => return None,
    };
    let protocol = Protocol::from_number(protocol)?;
    let port = u16::from_be_bytes(*transport.get(2..)?.first_chunk::<2>()?);
    Some(BaitHit { group: group.to_owned(), source, protocol, port })
}

/// Source, protocol and what follows the header (RFC 791 §3.1).
fn read_ipv4(packet: &[u8]) -> Option<(IpAddr, u8, &[u8])> {
    let length = usize::from(packet.first()? & 0x0f) * 4;
    let source = Ipv4Addr::from(*packet.get(12..)?.first_chunk::<4>()?);
    Some((source.into(), *packet.get(9)?, packet.get(length..)?))
}

/// Source, protocol and what follows the header and its extensions (RFC 8200 §3 and §4).
fn read_ipv6(packet: &[u8]) -> Option<(IpAddr, u8, &[u8])> {
    let source = Ipv6Addr::from(*packet.get(8..)?.first_chunk::<16>()?);
    let mut next = *packet.get(6)?;
    let mut rest = packet.get(40..)?;
    for _ in 0..MAX_EXTENSION_HEADERS {
        let length = match next {
            // Hop-by-hop, routing, destination options, mobility, HIP, shim6: in units of 8 bytes.
            0 | 43 | 60 | 135 | 139 | 140 => (usize::from(*rest.get(1)?) + 1) * 8,
            44 => 8,
            // Authentication header: in units of 4 bytes, less two (RFC 4302 §2.2).
            51 => (usize::from(*rest.get(1)?) + 2) * 4,
            _ => return Some((source.into(), next, rest)),
        };
        next = *rest.first()?;
        rest = rest.get(length..)?;
    }
    None
}
