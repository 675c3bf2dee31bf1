#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::SocketAddr;

use proptest::prelude::*;

use super::super::packet::udp_packet;
use super::{Checksum, RefusedPacket, parse_packet};
use crate::domain::datagram::Datagram;

const ALL: [Checksum; 3] = [Checksum::Verify, Checksum::VerifyOrPartial, Checksum::Trusted];

fn v4() -> (SocketAddr, SocketAddr) {
    ("192.0.2.7:40000".parse().unwrap(), "198.51.100.1:17001".parse().unwrap())
}

fn v6() -> (SocketAddr, SocketAddr) {
    ("[2001:db8::7]:40000".parse().unwrap(), "[2001:db8::1]:17001".parse().unwrap())
}

fn packet((from, to): (SocketAddr, SocketAddr), payload: &[u8]) -> Vec<u8> {
    udp_packet(from, to, payload).unwrap()
}

/// Puts extension headers (each starting with a placeholder next-header byte) behind the IPv6
/// header.
fn with_extensions(packet: &[u8], extensions: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut chain: Vec<u8> = Vec::new();
    for (i, (_, bytes)) in extensions.iter().enumerate() {
        let next = extensions.get(i + 1).map_or(17, |(kind, _)| *kind);
        chain.push(next);
        chain.extend(&bytes[1..]);
    }
    let mut out = packet[..40].to_vec();
    out[6] = extensions.first().map_or(17, |(kind, _)| *kind);
    let length = u16::try_from(packet.len() - 40 + chain.len()).unwrap();
    out[4..6].copy_from_slice(&length.to_be_bytes());
    out.extend(chain);
    out.extend(&packet[40..]);
    out
}

/// Options header of `8 * (extra + 1)` bytes filled with Pad1.
fn options(extra: u8) -> Vec<u8> {
    let mut bytes = vec![0; 8 * (usize::from(extra) + 1)];
    bytes[1] = extra;
    bytes
}

fn fix_header_checksum(packet: &mut [u8]) {
    let len = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let sum = !super::Sum::default().add_words(&packet[..len]).fold_to_16_bits();
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

#[test]
fn plain_datagrams() {
    for ends in [v4(), v6()] {
        let packet = packet(ends, b"hello");
        for mode in ALL {
            let want =
                Datagram { source: ends.0, destination: ends.1, payload: b"hello", link: None };
            assert_eq!(parse_packet(&packet, mode, 3), Ok(want));
        }
    }
}

#[test]
fn link_padding_and_bytes_behind_the_udp_length_are_cut() {
    for ends in [v4(), v6()] {
        let mut padded = packet(ends, b"x");
        padded.extend([0; 20]);
        assert_eq!(parse_packet(&padded, Checksum::Verify, 0).unwrap().payload, b"x");
    }
    // IP says two bytes more than UDP (RFC 9868 options live there).
    let mut longer = packet(v4(), b"x");
    longer.extend([9, 9]);
    longer[3] += 2;
    fix_header_checksum(&mut longer);
    assert_eq!(parse_packet(&longer, Checksum::Verify, 0).unwrap().payload, b"x");
}

#[test]
fn ipv4_options_are_skipped() {
    let mut p = packet(v4(), b"opt");
    p.splice(20..20, [1, 1, 1, 0]);
    p[0] = 0x46;
    p[3] += 4;
    fix_header_checksum(&mut p);
    assert_eq!(parse_packet(&p, Checksum::Verify, 0).unwrap().payload, b"opt");
}

#[test]
fn every_truncation_is_refused() {
    let ext = with_extensions(&packet(v6(), &[7; 20]), &[(0, options(1)), (60, options(0))]);
    for whole in [packet(v4(), &[7; 20]), packet(v6(), &[7; 20]), ext] {
        for len in 0..whole.len() {
            assert!(parse_packet(&whole[..len], Checksum::Trusted, 0).is_err(), "{len} bytes");
        }
    }
}

#[test]
fn every_flipped_bit_of_a_checked_packet_is_refused_or_harmless() {
    for ends in [v4(), v6()] {
        let good = packet(ends, b"payload");
        let want = parse_packet(&good, Checksum::Verify, 0).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // IPv6 has no checksum over traffic class, flow label and hop limit.
            if let Ok(got) = parse_packet(&bad, Checksum::Verify, 0) {
                assert!(got == want && ends.0.is_ipv6() && bit < 64, "bit {bit}");
            }
        }
    }
}

#[test]
fn ipv4_refusals() {
    let cases: [(&str, usize, u8, RefusedPacket); 8] = [
        ("more fragments", 6, 0x20, RefusedPacket::Fragment),
        ("fragment offset", 7, 1, RefusedPacket::Fragment),
        ("tcp", 9, 6, RefusedPacket::NotUdp),
        ("header of 16 bytes", 0, 0x44, RefusedPacket::Malformed),
        ("header longer than packet", 0, 0x4f, RefusedPacket::Malformed),
        ("multicast source", 12, 224, RefusedPacket::Address),
        ("multicast destination", 16, 239, RefusedPacket::Address),
        ("version 5", 0, 0x55, RefusedPacket::NotIp),
    ];
    for (name, at, value, want) in cases {
        let mut p = packet(v4(), b"x");
        p[at] = value;
        if p[0] & 15 == 5 {
            fix_header_checksum(&mut p);
        }
        assert_eq!(parse_packet(&p, Checksum::Trusted, 0), Err(want), "{name}");
    }
    let mut p = packet(v4(), b"x");
    p[12..16].fill(0);
    fix_header_checksum(&mut p);
    assert_eq!(parse_packet(&p, Checksum::Trusted, 0), Err(RefusedPacket::Address));
    let mut p = packet(v4(), b"x");
    p[8] ^= 1;
    assert_eq!(parse_packet(&p, Checksum::Trusted, 0), Err(RefusedPacket::HeaderChecksum));
}

#[test]
fn ipv6_extension_headers() {
    let base = packet(v6(), b"ext");
    let fragment = |offset_and_flags: u16| {
        let [a, b] = offset_and_flags.to_be_bytes();
        vec![0, 0xff, a, b, 1, 2, 3, 4]
    };
    let routing = |left: u8| vec![0, 0, 4, left, 0, 0, 0, 0];
    let ok: [&[(u8, Vec<u8>)]; 6] = [
        &[(0, options(0))],
        &[(60, options(3))],
        &[(43, routing(0))],
        &[(44, fragment(0))],
        &[(44, fragment(6))],
        &[(0, options(1)), (60, options(0)), (43, routing(0)), (44, fragment(0)), (60, options(2))],
    ];
    for (i, chain) in ok.into_iter().enumerate() {
        let p = with_extensions(&base, chain);
        assert_eq!(parse_packet(&p, Checksum::Verify, 0).unwrap().payload, b"ext", "chain {i}");
    }
    type Chain<'a> = &'a [(u8, Vec<u8>)];
    let bad: [(Chain<'_>, RefusedPacket); 7] = [
        (&[(44, fragment(1))], RefusedPacket::Fragment),
        (&[(44, fragment(8))], RefusedPacket::Fragment),
        (&[(43, routing(1))], RefusedPacket::Routed),
        (&[(60, options(0)), (0, options(0))], RefusedPacket::Chain),
        (&vec![(60, options(0)); 7], RefusedPacket::Chain),
        (&[(51, options(0))], RefusedPacket::NotUdp),
        (&[(58, options(0))], RefusedPacket::NotUdp),
    ];
    for (i, (chain, want)) in bad.into_iter().enumerate() {
        let p = with_extensions(&base, chain);
        assert_eq!(parse_packet(&p, Checksum::Verify, 0), Err(want), "chain {i}");
    }
}

#[test]
fn ipv6_addresses_that_no_host_has() {
    for bad in ["::", "ff02::1", "::ffff:192.0.2.7"] {
        let bad = SocketAddr::new(bad.parse().unwrap(), 5);
        let other = v6().0;
        for ends in [(bad, other), (other, bad)] {
            assert_eq!(
                parse_packet(&packet(ends, b"x"), Checksum::Verify, 0),
                Err(RefusedPacket::Address)
            );
        }
    }
}

#[test]
fn link_local_addresses_keep_their_interface() {
    let ends = ("[fe80::7]:5".parse().unwrap(), "[fe80::1]:6".parse().unwrap());
    let p = packet(ends, b"x");
    let datagram = parse_packet(&p, Checksum::Verify, 42).unwrap();
    assert_eq!(datagram.source, "[fe80::7%42]:5".parse().unwrap());
    assert_eq!(datagram.destination, "[fe80::1%42]:6".parse().unwrap());
}

#[test]
fn checksum_modes() {
    let at = |p: &[u8]| if p[0] >> 4 == 4 { 26 } else { 46 };
    for ends in [v4(), v6()] {
        let mut p = packet(ends, b"sum");
        let field = at(&p);
        p[field] ^= 0x40;
        assert_eq!(parse_packet(&p, Checksum::Verify, 0), Err(RefusedPacket::UdpChecksum));
        assert_eq!(parse_packet(&p, Checksum::VerifyOrPartial, 0), Err(RefusedPacket::UdpChecksum));
        assert!(parse_packet(&p, Checksum::Trusted, 0).is_ok());
        let partial = super::pseudo_header(ends.0.ip(), ends.1.ip(), 11).fold_to_16_bits();
        p[field..field + 2].copy_from_slice(&partial.to_be_bytes());
        assert_eq!(parse_packet(&p, Checksum::Verify, 0), Err(RefusedPacket::UdpChecksum));
        assert!(parse_packet(&p, Checksum::VerifyOrPartial, 0).is_ok());
        p[field..field + 2].fill(0);
        for mode in [Checksum::Verify, Checksum::VerifyOrPartial] {
            assert_eq!(parse_packet(&p, mode, 0).is_ok(), ends.0.is_ipv4());
        }
    }
}

proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), mode in 0_usize..3) {
        let _ = parse_packet(&bytes, ALL[mode], 1);
    }

    #[test]
    fn never_panics_on_changed_packets(
        six in any::<bool>(),
        changes in proptest::collection::vec((0_usize..90, any::<u8>()), 0..6),
        mode in 0_usize..3,
    ) {
        let mut p = packet(if six { v6() } else { v4() }, &[1; 40]);
        let len = p.len();
        for (at, value) in changes {
            p[at % len] = value;
        }
        if let Ok(datagram) = parse_packet(&p, ALL[mode], 1) {
            prop_assert!(datagram.payload.len() <= 40);
        }
    }

    #[test]
    fn accepts_what_the_builder_makes(
        six in any::<bool>(),
        ports in any::<(u16, u16)>(),
        payload in proptest::collection::vec(any::<u8>(), 0..1300),
    ) {
        let (mut from, mut to) = if six { v6() } else { v4() };
        from.set_port(ports.0);
        to.set_port(ports.1);
        let p = packet((from, to), &payload);
        let want = Datagram { source: from, destination: to, payload: &payload, link: None };
        prop_assert_eq!(parse_packet(&p, Checksum::Verify, 0), Ok(want));
    }
}
