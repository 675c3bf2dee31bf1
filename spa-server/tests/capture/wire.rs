//! Packets as no ordinary socket sends them: VLAN tags, extension headers, fragments, wrong
//! checksums.

use std::net::SocketAddr;

use socket2::Socket;
use spa_server::capture::Kind;
use spa_server::capture::packet::udp_packet;

use crate::netns::{Pair, SERVER_MAC as SERVER, ends, frame, ip, wait_until_up, wire};
use crate::support::{Host, KINDS, KNOCK};

/// A knock-sized packet marked with `mark`.
fn knock(six: bool, mark: u8) -> (SocketAddr, SocketAddr, Vec<u8>) {
    let (from, to) = ends(six, 42_000, KNOCK);
    (from, to, udp_packet(from, to, &[mark; 150]).unwrap())
}

fn send(wire: &Socket, frame: &[u8]) {
    assert_eq!(wire.send(frame).unwrap(), frame.len());
}

/// IPv6 packet with extension headers put before the UDP header.
fn with_extensions(six: &[u8], first: u8, chain: &[&[u8]]) -> Vec<u8> {
    let chain = chain.concat();
    let mut packet = six.to_vec();
    packet.splice(40..40, chain.iter().copied());
    packet[6] = first;
    let length = u16::try_from(packet.len() - 40).unwrap();
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    packet
}

#[test]
fn crafted_packets() {
    const PADDING: [u8; 6] = [1, 4, 0, 0, 0, 0];
    let options = |next: u8| [&[next, 0][..], &PADDING].concat();
    for kind in KINDS {
        let pair = Pair::new();
        let mut host = Host::open(&pair, kind);
        let wire = pair.in_client(wire);
        let put = |to, packet: &[u8]| send(&wire, &frame(to, &[], packet));
        for six in [false, true] {
            let (from, to, good) = knock(six, 1);
            put(SERVER, &good);
            assert_eq!(host.expect(1), [(from, to, vec![1; 150])], "{kind:?}");
            let mut padded = good.clone();
            padded.extend([0xaa; 30]);
            put(SERVER, &padded);
            assert_eq!(host.expect(1), [(from, to, vec![1; 150])], "{kind:?}: link padding");

            let mut corrupt = good.clone();
            *corrupt.last_mut().unwrap() ^= 1;
            put(SERVER, &corrupt);
            put([2, 0, 0, 0, 7, 9], &good);
            let mut cut = good.clone();
            cut.truncate(good.len() - 10);
            put(SERVER, &cut);
            host.expect_silence();
        }

        let (from, to, four) = knock(false, 2);
        let mut fragment = four.clone();
        fragment[6] = 0x20;
        fix_ipv4(&mut fragment);
        put(SERVER, &fragment);
        let mut long = four.clone();
        long.splice(20..20, [1, 1, 1, 0]);
        long[0] = 0x46;
        long[3] += 4;
        fix_ipv4(&mut long);
        put(SERVER, &long);
        assert_eq!(host.expect(1), [(from, to, vec![2; 150])], "{kind:?}: IPv4 options");

        let (from, to, six) = knock(true, 3);
        let atomic = [17, 0, 0, 0, 1, 2, 3, 4];
        let chains: [(u8, Vec<Vec<u8>>); 4] = [
            (0, vec![options(17)]),
            (60, vec![options(17)]),
            (44, vec![atomic.to_vec()]),
            (0, vec![options(60), options(44), atomic.to_vec()]),
        ];
        for (first, chain) in chains {
            let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
            put(SERVER, &with_extensions(&six, first, &chain));
            assert_eq!(host.expect(1), [(from, to, vec![3; 150])], "{kind:?}: {first} {chain:?}");
        }
        put(SERVER, &with_extensions(&six, 44, &[&[17, 0, 0, 1, 1, 2, 3, 5]]));
        put(SERVER, &with_extensions(&six, 43, &[&[17, 0, 4, 1, 0, 0, 0, 0]]));
        let mapped = "[::ffff:10.7.0.2]:42000".parse().unwrap();
        put(SERVER, &udp_packet(mapped, to, &[4; 150]).unwrap());
        host.expect_silence();
    }
}

/// Computes the checksum of an IPv4 header anew.
fn fix_ipv4(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let len = usize::from(packet[0] & 15) * 4;
    let mut sum: u32 =
        packet[..len].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    packet[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

#[test]
fn tagged_frames_without_a_vlan_device() {
    for kind in KINDS {
        let pair = Pair::new();
        let mut host = Host::open(&pair, kind);
        let wire = pair.in_client(wire);
        for six in [false, true] {
            let (from, to, packet) = knock(six, 1);
            send(&wire, &frame(SERVER, &[(0x8100, 5)], &packet));
            send(&wire, &frame(SERVER, &[(0x88a8, 5), (0x8100, 6)], &packet));
            host.expect_silence();
            // VLAN 0 carries a priority and nothing else: an ordinary packet (IEEE 802.1Q), with
            // the provider's tag too.
            for tags in [&[(0x8100, 0xe000)][..], &[(0x88a8, 0x6000)], &[(0x88a8, 0), (0x8100, 0)]]
            {
                send(&wire, &frame(SERVER, tags, &packet));
                assert_eq!(host.expect(1), [(from, to, vec![1; 150])], "{kind:?}: {tags:x?}");
            }
            host.expect_silence();
        }
    }
}

#[test]
#[ignore = "needs VLAN devices (CONFIG_VLAN_8021Q); tests/run.sh runs it where the kernel has them"]
fn tagged_frames_of_a_vlan_device_are_seen_once() {
    for kind in KINDS {
        let pair = Pair::new();
        ip(&format!("-n {} link add link veth0 name tagged type vlan id 5", pair.server));
        ip(&format!("-n {} link set tagged up", pair.server));
        ip(&format!("-n {} address add 10.8.0.1/24 dev tagged", pair.server));
        ip(&format!("-n {} address add fd08::1/64 dev tagged nodad", pair.server));
        wait_until_up(&pair.server, "tagged");
        let mut host = Host::open(&pair, kind);
        let wire = pair.in_client(wire);
        for (from, to) in [("10.8.0.2", "10.8.0.1"), ("[fd08::2]", "[fd08::1]")] {
            let from = format!("{from}:5000").parse().unwrap();
            let to = format!("{to}:{KNOCK}").parse().unwrap();
            send(&wire, &frame(SERVER, &[(0x8100, 5)], &udp_packet(from, to, &[1; 150]).unwrap()));
            assert_eq!(host.expect(1), [(from, to, vec![1; 150])], "{kind:?}");
        }
        host.expect_silence();
    }
}

#[test]
fn packets_of_a_bridge_are_seen_once() {
    for kind in KINDS {
        let pair = Pair::new();
        let server = &pair.server;
        ip(&format!("-n {server} link add bridge0 type bridge"));
        ip(&format!("-n {server} link set bridge0 address 02:00:00:00:07:01"));
        ip(&format!("-n {server} address flush dev veth0"));
        ip(&format!("-n {server} link set veth0 address 02:00:00:00:07:11"));
        ip(&format!("-n {server} link set veth0 master bridge0"));
        ip(&format!("-n {server} link set bridge0 up"));
        ip(&format!("-n {server} address add 10.7.0.1/24 dev bridge0"));
        ip(&format!("-n {server} address add fd07::1/64 dev bridge0 nodad"));
        wait_until_up(server, "bridge0");
        let mut host = Host::open(&pair, kind);
        let wire = pair.in_client(wire);
        for six in [false, true] {
            let (from, to, packet) = knock(six, 1);
            send(&wire, &frame(SERVER, &[], &packet));
            assert_eq!(host.expect(1), [(from, to, vec![1; 150])], "{kind:?}");
        }
        host.expect_silence();
    }
}

#[test]
fn a_datagram_in_fragments_is_no_knock() {
    for kind in [Kind::Ring, KINDS[1]] {
        let pair = Pair::new();
        let mut host = Host::open(&pair, kind);
        for name in [&pair.client, &pair.server] {
            ip(&format!("-n {name} link set veth0 mtu 1280"));
        }
        for six in [false, true] {
            let (from, to) = ends(six, 42_001, KNOCK);
            let long = vec![1; 1300 - if six { 48 } else { 28 }];
            crate::support::udp(&pair, from).send_to(&long, to).unwrap();
        }
        host.expect_silence();
    }
}
