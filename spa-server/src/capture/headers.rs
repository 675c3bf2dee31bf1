//! From an IP packet to the UDP datagram in it. Pure: attacker's bytes and two flags in, a view or
//! a refusal out.
//!
//! A capture sees packets before the kernel's own checks, so whatever the kernel would refuse
//! before a socket sees it must be refused here too: otherwise a packet that no UDP server would
//! ever get could knock.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::checksum::{IPPROTO_UDP, Sum, pseudo_header};
use crate::domain::datagram::Datagram;

/// Most IPv6 extension headers walked before the packet is refused. RFC 8200 section 4.1 lets each
/// occur once, destination options twice.
const MAX_EXTENSIONS: usize = 6;

/// Trust in the UDP checksum of a packet, which only the capture can judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// It is as it came from the wire, and nobody has looked at it.
    Verify,
    /// Either as from the wire, or the packet never was on one (veth, loopback) and the field holds
    /// only the sum over the pseudo-header, which the sender's kernel left for its network card
    /// to complete.
    VerifyOrPartial,
    /// The kernel says that it is right, or that it was never on a wire.
    Trusted,
}

/// Why a packet holds no datagram for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusedPacket {
    /// Neither IPv4 nor IPv6.
    #[error("no IP packet")]
    NotIp,
    /// A length field points beyond the bytes, or is too small for its own header.
    #[error("truncated or malformed")]
    Malformed,
    /// The IPv4 header checksum is wrong.
    #[error("IPv4 header checksum")]
    HeaderChecksum,
    /// A fragment. The kernel has not put it together yet, and a knock is always one packet.
    #[error("fragment")]
    Fragment,
    /// Another transport protocol, or an IPv6 extension header that no knock carries.
    #[error("not UDP")]
    NotUdp,
    /// Too many IPv6 extension headers, or hop-by-hop options that are not the first.
    #[error("IPv6 header chain")]
    Chain,
    /// A routing header that has not ended: the destination is only a stop on the way.
    #[error("on its way to another destination")]
    Routed,
    /// An address that no single host has: unspecified, multicast, broadcast, or v4-mapped inside
    /// IPv6.
    #[error("impossible address")]
    Address,
    /// The UDP checksum is wrong, or is missing in IPv6.
    #[error("UDP checksum")]
    UdpChecksum,
}

/// Finds the UDP datagram in an IP packet. Bytes behind the IP length (link padding) are ignored.
/// `interface` is the index of the receiving interface; it becomes the scope of link-local
/// addresses.
///
/// # Errors
/// A [`RefusedPacket`] for anything that is not one whole, unfragmented UDP datagram between two
/// unicast hosts.
pub fn parse_packet(
    packet: &[u8],
    checksum: Checksum,
    interface: u32,
) -> Result<Datagram<'_>, RefusedPacket> {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => parse_ipv4(packet, checksum),
        Some(6) => parse_ipv6(packet, checksum, interface),
        _ => Err(RefusedPacket::NotIp),
    }
}

/// IPv4 header, RFC 791 section 3.1: 0 version and header words | 2 total length | 6 flags and
/// fragment offset | 9 protocol | 10 checksum | 12 source | 16 destination | 20 options.
fn parse_ipv4(packet: &[u8], checksum: Checksum) -> Result<Datagram<'_>, RefusedPacket> {
    let (fixed, _) = packet.split_first_chunk::<20>().ok_or(RefusedPacket::Malformed)?;
    let [
        first,
        _,
        len0,
        len1,
        _,
        _,
        frag0,
        frag1,
        _,
        protocol,
        _,
        _,
        s0,
        s1,
        s2,
        s3,
        d0,
        d1,
        d2,
        d3,
    ] = *fixed;
    if protocol != IPPROTO_UDP {
        return Err(RefusedPacket::NotUdp);
    }
    // Reserved and don't-fragment bits may be set; more-fragments and the offset may not.
    if u16::from_be_bytes([frag0, frag1]) & 0x3fff != 0 {
        return Err(RefusedPacket::Fragment);
    }
    let total = usize::from(u16::from_be_bytes([len0, len1]));
    let header_len = usize::from(first & 0x0f) * 4;
    if header_len < fixed.len() {
        return Err(RefusedPacket::Malformed);
    }
    let (header, body) = packet
        .get(..total)
        .and_then(|p| p.split_at_checked(header_len))
        .ok_or(RefusedPacket::Malformed)?;
    // The grant goes to this source address: a flipped bit on the way must not open for a
    // neighbour.
    if Sum::default().add_words(header).fold_to_16_bits() != 0xffff {
        return Err(RefusedPacket::HeaderChecksum);
    }
    let source = Ipv4Addr::new(s0, s1, s2, s3);
    let destination = Ipv4Addr::new(d0, d1, d2, d3);
    let impossible = |a: Ipv4Addr| a.is_unspecified() || a.is_multicast() || a.is_broadcast();
    if impossible(source) || impossible(destination) {
        return Err(RefusedPacket::Address);
    }
    parse_udp(body, source.into(), destination.into(), checksum, 0)
}

/// IPv6 header, RFC 8200 section 3: 0 version | 4 payload length | 6 next header | 8 source | 24
/// destination.
fn parse_ipv6(
    packet: &[u8],
    checksum: Checksum,
    interface: u32,
) -> Result<Datagram<'_>, RefusedPacket> {
    let (fixed, rest) = packet.split_first_chunk::<8>().ok_or(RefusedPacket::Malformed)?;
    let (source, rest) = rest.split_first_chunk::<16>().ok_or(RefusedPacket::Malformed)?;
    let (destination, rest) = rest.split_first_chunk::<16>().ok_or(RefusedPacket::Malformed)?;
    let [_, _, _, _, len0, len1, next, _] = *fixed;
    let body = rest
        .get(..usize::from(u16::from_be_bytes([len0, len1])))
        .ok_or(RefusedPacket::Malformed)?;
    let (source, destination) = (Ipv6Addr::from(*source), Ipv6Addr::from(*destination));
    // A v4-mapped address on the wire would become that IPv4 host's address in every later
    // comparison.
    let impossible =
        |a: Ipv6Addr| a.is_unspecified() || a.is_multicast() || a.to_ipv4_mapped().is_some();
    if impossible(source) || impossible(destination) {
        return Err(RefusedPacket::Address);
    }
    let body = skip_extensions(next, body)?;
    parse_udp(body, source.into(), destination.into(), checksum, interface)
}

/// Walks the extension headers of RFC 8200 section 4 to the UDP header.
fn skip_extensions(mut next: u8, mut body: &[u8]) -> Result<&[u8], RefusedPacket> {
    const HOP_BY_HOP: u8 = 0;
    const NEXT_HEADER_ROUTING: u8 = 43;
    const NEXT_HEADER_FRAGMENT: u8 = 44;
    const NEXT_HEADER_DESTINATION: u8 = 60;
    for index in 0..=MAX_EXTENSIONS {
        if next == IPPROTO_UDP {
            return Ok(body);
        }
        let ([following, length, b2, b3, ..], _) =
            body.split_first_chunk::<8>().ok_or(RefusedPacket::Malformed)?;
        let mut size = (usize::from(*length) + 1) * 8;
        match next {
            HOP_BY_HOP if index == 0 => {}
            HOP_BY_HOP => return Err(RefusedPacket::Chain),
            NEXT_HEADER_DESTINATION => {}
            // Segments left: the checksum covers the last destination, and the kernel would forward
            // or drop.
            NEXT_HEADER_ROUTING if *b3 != 0 => return Err(RefusedPacket::Routed),
            NEXT_HEADER_ROUTING => {}
            // An atomic fragment (RFC 6946) is a whole packet: offset 0, no more to come. Its
            // second byte is reserved and no length.
            NEXT_HEADER_FRAGMENT if u16::from_be_bytes([*b2, *b3]) & 0xfff9 == 0 => size = 8,
            NEXT_HEADER_FRAGMENT => return Err(RefusedPacket::Fragment),
            _ => return Err(RefusedPacket::NotUdp),
        }
        next = *following;
        body = body.get(size..).ok_or(RefusedPacket::Malformed)?;
    }
    Err(RefusedPacket::Chain)
}

/// UDP header, RFC 768: 0 source port | 2 destination port | 4 length with header | 6 checksum.
fn parse_udp(
    body: &[u8],
    source: IpAddr,
    destination: IpAddr,
    checksum: Checksum,
    interface: u32,
) -> Result<Datagram<'_>, RefusedPacket> {
    let (header, _) = body.split_first_chunk::<8>().ok_or(RefusedPacket::Malformed)?;
    let [s0, s1, d0, d1, l0, l1, c0, c1] = *header;
    let length = u16::from_be_bytes([l0, l1]);
    let datagram = body.get(..usize::from(length)).ok_or(RefusedPacket::Malformed)?;
    let payload = datagram.get(header.len()..).ok_or(RefusedPacket::Malformed)?;
    let field = u16::from_be_bytes([c0, c1]);
    if checksum != Checksum::Trusted {
        let pseudo = pseudo_header(source, destination, length);
        let right = match field {
            // "No checksum" is allowed in IPv4 only (RFC 768, RFC 8200 section 8.1).
            0 => source.is_ipv4(),
            _ if checksum == Checksum::VerifyOrPartial && field == pseudo.fold_to_16_bits() => true,
            _ => pseudo.add_words(datagram).fold_to_16_bits() == 0xffff,
        };
        if !right {
            return Err(RefusedPacket::UdpChecksum);
        }
    }
    Ok(Datagram {
        source: endpoint_of(source, u16::from_be_bytes([s0, s1]), interface),
        destination: endpoint_of(destination, u16::from_be_bytes([d0, d1]), interface),
        payload,
        link: None,
    })
}

/// An address with its port, and with the interface as scope when it is link-local (RFC 4007).
#[must_use]
pub(super) fn endpoint_of(address: IpAddr, port: u16, interface: u32) -> SocketAddr {
    match address {
        IpAddr::V4(a) => SocketAddrV4::new(a, port).into(),
        IpAddr::V6(a) => {
            let scope = if a.is_unicast_link_local() { interface } else { 0 };
            SocketAddrV6::new(a, port, 0, scope).into()
        }
    }
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
