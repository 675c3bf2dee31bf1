//! Writes a whole IP packet with a UDP datagram in it, for the raw sockets that send acks.

use std::net::{IpAddr, SocketAddr};

use super::checksum::{IPPROTO_UDP, Sum, pseudo_header};

/// Hop limit of what we send: the default of Linux and of RFC 1700.
const HOP_LIMIT: u8 = 64;

/// An IP packet that carries `payload` from `source` to `destination`, all checksums in place.
/// `None` when the two are of different families or the payload is too long for one packet.
#[must_use]
pub fn udp_packet(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(payload.len().checked_add(8)?).ok()?;
    let mut packet = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let [total0, total1] = length.checked_add(20)?.to_be_bytes();
            // Version 4 with five words; don't-fragment, which also allows identification 0 (RFC
            // 6864).
            let start = [0x45, 0, total0, total1, 0, 0, 0x40, 0, HOP_LIMIT, IPPROTO_UDP];
            let [check0, check1] = (!Sum::default()
                .add_words(&start)
                .add_words(&from.octets())
                .add_words(&to.octets())
                .fold_to_16_bits())
            .to_be_bytes();
            [&start[..], &[check0, check1], &from.octets(), &to.octets()].concat()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let [len0, len1] = length.to_be_bytes();
            let start = [0x60, 0, 0, 0, len0, len1, IPPROTO_UDP, HOP_LIMIT];
            [&start[..], &from.octets(), &to.octets()].concat()
        }
        _ => return None,
    };
    let mut header = Vec::with_capacity(8);
    header.extend(source.port().to_be_bytes());
    header.extend(destination.port().to_be_bytes());
    header.extend(length.to_be_bytes());
    let sum = !pseudo_header(source.ip(), destination.ip(), length)
        .add_words(&header)
        .add_words(payload)
        .fold_to_16_bits();
    // A sum of zero is sent as its other zero: the field 0 means "no checksum" (RFC 768).
    header.extend(if sum == 0 { 0xffff_u16 } else { sum }.to_be_bytes());
    packet.extend(header);
    packet.extend(payload);
    Some(packet)
}
