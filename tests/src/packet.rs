//! IP packets as bytes: built for forgeries, read from captures.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Protocol numbers of IPv4's protocol and IPv6's next-header field (IANA).
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// ICMP for IPv4.
pub const ICMP: u8 = 1;
/// ICMP for IPv6.
pub const ICMPV6: u8 = 58;

/// Flags of the TCP header (RFC 9293 3.1).
pub const FIN: u8 = 0x01;
/// SYN.
pub const SYN: u8 = 0x02;
/// RST.
pub const RST: u8 = 0x04;
/// PSH.
pub const PSH: u8 = 0x08;
/// ACK.
pub const ACK: u8 = 0x10;
/// URG.
pub const URG: u8 = 0x20;

/// A whole IP packet with a UDP datagram, right checksums included. Both addresses must be of one
/// family.
pub fn udp(source: SocketAddr, target: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).expect("a UDP datagram is shorter than 64 KiB");
    let mut datagram = Vec::with_capacity(usize::from(length));
    datagram.extend(source.port().to_be_bytes());
    datagram.extend(target.port().to_be_bytes());
    datagram.extend(length.to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    let sum = match transport_checksum(source.ip(), target.ip(), UDP, &datagram) {
        // RFC 768: a computed zero is sent as all ones, zero means "no checksum".
        0 => 0xffff,
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    ip(source.ip(), target.ip(), UDP, &datagram)
}

/// A whole IP packet with a TCP SYN (RFC 9293, no options).
pub fn tcp_syn(source: SocketAddr, target: SocketAddr) -> Vec<u8> {
    tcp(source, target, SYN, &[])
}

/// The same with any flags and data: what scanners send to see what comes back.
pub fn tcp(source: SocketAddr, target: SocketAddr, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::with_capacity(20 + payload.len());
    segment.extend(source.port().to_be_bytes());
    segment.extend(target.port().to_be_bytes());
    segment.extend(0x5350_4121_u32.to_be_bytes());
    segment.extend([0; 4]);
    segment.extend([5 << 4, flags]);
    segment.extend(1024_u16.to_be_bytes());
    segment.extend([0; 4]);
    segment.extend(payload);
    let sum = transport_checksum(source.ip(), target.ip(), TCP, &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    ip(source.ip(), target.ip(), TCP, &segment)
}

/// A whole IP packet with an echo request (RFC 792, RFC 4443 4.1) of this identifier.
pub fn echo_request(source: IpAddr, target: IpAddr, identifier: u16) -> Vec<u8> {
    let (protocol, kind) = if source.is_ipv4() { (ICMP, 8) } else { (ICMPV6, 128) };
    let mut segment = vec![kind, 0, 0, 0];
    segment.extend(identifier.to_be_bytes());
    segment.extend([0, 1]);
    let sum = match protocol {
        // ICMP for IPv4 has no pseudo header.
        ICMP => !fold(sum(&segment)),
        _ => transport_checksum(source, target, ICMPV6, &segment),
    };
    segment[2..4].copy_from_slice(&sum.to_be_bytes());
    ip(source, target, protocol, &segment)
}

/// Puts an IPv4 (RFC 791) or IPv6 (RFC 8200) header before a transport segment.
pub fn ip(source: IpAddr, target: IpAddr, protocol: u8, segment: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(40 + segment.len());
    match (source, target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            let length =
                u16::try_from(20 + segment.len()).expect("an IPv4 packet is shorter than 64 KiB");
            packet.extend([0x45, 0]);
            packet.extend(length.to_be_bytes());
            packet.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
            packet.extend(source.octets());
            packet.extend(target.octets());
            let sum = !fold(sum(&packet));
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            let length =
                u16::try_from(segment.len()).expect("an IPv6 payload is shorter than 64 KiB");
            packet.extend([0x60, 0, 0, 0]);
            packet.extend(length.to_be_bytes());
            packet.extend([protocol, 64]);
            packet.extend(source.octets());
            packet.extend(target.octets());
        }
        _ => panic!("{source} and {target} are not of one family"),
    }
    packet.extend(segment);
    packet
}

/// What a test wants to know of a captured packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub target: IpAddr,
    /// Transport protocol number, behind IPv6's extension headers.
    pub protocol: u8,
    /// The transport segment, header included.
    pub segment: Vec<u8>,
}

impl Packet {
    /// Reads an Ethernet frame; nothing when it carries no IP or is cut short.
    pub fn of_frame(frame: &[u8]) -> Option<Packet> {
        match u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]) {
            0x0800 | 0x86dd => Packet::of_ip(frame.get(14..)?),
            // 802.1Q
            0x8100 => Packet::of_ip(frame.get(18..)?),
            _ => None,
        }
    }

    /// Reads an IP packet; nothing when it is cut short.
    pub fn of_ip(bytes: &[u8]) -> Option<Packet> {
        match bytes.first()? >> 4 {
            4 => {
                let header = usize::from(bytes[0] & 15) * 4;
                let total = usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
                Some(Packet {
                    source: Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(12..16)?).ok()?).into(),
                    target: Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(16..20)?).ok()?).into(),
                    protocol: *bytes.get(9)?,
                    segment: bytes.get(header..total)?.to_vec(),
                })
            }
            6 => {
                let payload = usize::from(u16::from_be_bytes([*bytes.get(4)?, *bytes.get(5)?]));
                let (mut protocol, mut at) = (*bytes.get(6)?, 40);
                // Hop-by-hop, routing and destination options: next header, then length in units of
                // 8 after the first.
                while matches!(protocol, 0 | 43 | 60) {
                    protocol = *bytes.get(at)?;
                    at += 8 + usize::from(*bytes.get(at + 1)?) * 8;
                }
                Some(Packet {
                    source: Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(8..24)?).ok()?).into(),
                    target: Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(24..40)?).ok()?).into(),
                    protocol,
                    segment: bytes.get(at..40 + payload)?.to_vec(),
                })
            }
            _ => None,
        }
    }

    /// Source and destination with their ports, for TCP and UDP.
    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        if !matches!(self.protocol, TCP | UDP) {
            return None;
        }
        let port = |at: usize| {
            Some(u16::from_be_bytes([*self.segment.get(at)?, *self.segment.get(at + 1)?]))
        };
        Some((SocketAddr::new(self.source, port(0)?), SocketAddr::new(self.target, port(2)?)))
    }

    /// The content of a UDP datagram.
    pub fn udp_payload(&self) -> Option<&[u8]> {
        if self.protocol == UDP { self.segment.get(8..) } else { None }
    }

    /// Neighbour discovery and group membership (RFC 4861, 3810): the IPv6 twin of ARP, no answer
    /// to anyone's packet.
    pub fn is_housekeeping(&self) -> bool {
        self.protocol == ICMPV6
            && self.segment.first().is_some_and(|kind| matches!(kind, 130..=137 | 143))
    }
}

/// RFC 1071 over the pseudo header (RFC 9293 3.1, RFC 8200 8.1) and the segment.
fn transport_checksum(source: IpAddr, target: IpAddr, protocol: u8, segment: &[u8]) -> u16 {
    let addresses = match (source, target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => sum(&source.octets()) + sum(&target.octets()),
        (IpAddr::V6(source), IpAddr::V6(target)) => sum(&source.octets()) + sum(&target.octets()),
        _ => panic!("{source} and {target} are not of one family"),
    };
    let length = u32::try_from(segment.len()).expect("shorter than 64 KiB");
    !fold(addresses + u32::from(protocol) + length + sum(segment))
}

fn sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_packets_read_back() {
        for (source, target) in
            [("192.0.2.1:1000", "198.51.100.2:53"), ("[2001:db8::1]:1000", "[2001:db8::2]:53")]
        {
            let (source, target): (SocketAddr, SocketAddr) =
                (source.parse().unwrap(), target.parse().unwrap());
            let packet = Packet::of_ip(&udp(source, target, b"odd")).unwrap();
            assert_eq!(packet.ends(), Some((source, target)));
            assert_eq!(packet.udp_payload(), Some(&b"odd"[..]));
            let packet = Packet::of_ip(&tcp_syn(source, target)).unwrap();
            assert_eq!(packet.ends(), Some((source, target)));
            assert_eq!(packet.segment[13], 0x02);
        }
    }

    #[test]
    fn ipv4_header_checksum_of_a_known_header() {
        // The worked example of the header checksum that is in common use: 192.168.0.1 to
        // 192.168.0.199, UDP.
        let header = [
            0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0,
            0xc7,
        ];
        assert_eq!(!fold(sum(&header)), 0xb861);
    }

    #[test]
    fn extension_headers_are_passed() {
        let (one, two) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let inner = udp(SocketAddr::new(one, 7), SocketAddr::new(two, 8), b"x");
        let mut segment = vec![UDP, 0, 1, 4, 0, 0, 0, 0];
        segment.extend(&inner[40..]);
        let packet = Packet::of_ip(&ip(one, two, 60, &segment)).unwrap();
        assert_eq!(packet.udp_payload(), Some(&b"x"[..]));
    }
}
