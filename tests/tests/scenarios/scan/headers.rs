//! Headers that the kernel would complain about before any hook for incoming packets.

use std::net::IpAddr;

use spa_tests::nft;
use spa_tests::packet::{self, TCP, UDP};
use spa_tests::raw::Forger;
use spa_tests::wait_until;

use super::*;

/// Next headers of IPv6: hop-by-hop options and fragment (RFC 8200 §4.3, §4.5).
const HOP_BY_HOP: u8 = 0;
const FRAGMENT: u8 = 44;

/// IPv4 with the option "record route" of an impossible length (RFC 791 §3.1), IPv6 with an unknown
/// option whose type asks for an answer (RFC 8200 §4.2).
fn bad_options(source: IpAddr, target: IpAddr) -> Vec<u8> {
    let segment = [0x2e; 24];
    if source.is_ipv6() {
        let options = [&[TCP, 0, 0x9e, 4, 0, 0, 0, 0], &segment[..]].concat();
        return packet::ip(source, target, HOP_BY_HOP, &options);
    }
    let mut bytes = packet::ip(source, target, TCP, &[&[7, 2, 0, 0], &segment[..]].concat());
    // Six words of header; the kernel makes the checksum when it sends.
    bytes[0] = 0x46;
    bytes
}

/// The first fragment of a datagram whose others never come.
fn lone_fragment(source: IpAddr, target: IpAddr) -> Vec<u8> {
    let datagram = [&[0x12, 0x34, 0, 99, 0, 64, 0, 0], &[0x2e; 24][..]].concat();
    if source.is_ipv6() {
        let header = [UDP, 0, 0, 1, 0, 0, 0, 7];
        return packet::ip(source, target, FRAGMENT, &[&header, &datagram[..]].concat());
    }
    let mut bytes = packet::ip(source, target, UDP, &datagram);
    // An identification, and "more fragments".
    bytes[4..8].copy_from_slice(&[0, 7, 0x20, 0]);
    bytes
}

#[test]
fn f7_standalone_says_nothing_about_headers() {
    need_namespaces!();
    let house = house(&config("standalone", "drop", "ring"));
    let (server, stranger) = (&house.net.server, &house.net.stranger);
    for key in [
        "net/ipv4/ipfrag_time",
        "net/ipv6/ip6frag_time",
        "net/netfilter/nf_conntrack_frag6_timeout",
    ] {
        server.sysctl(key, "1");
    }
    let sniffer = Sniffer::start(stranger, Host::DEVICE);
    let forger = Forger::new(stranger);
    let kinds = [bad_options, lone_fragment];
    for family in Family::BOTH {
        for kind in kinds {
            forger.send(&kind(stranger.address(family), server.address(family)));
        }
    }
    let said = || Family::BOTH.map(|family| sniffer.sent_by(server.address(family))).concat();
    let kept = || nft::counted(server, "inet", "spa", "out");
    let all = 2 * kinds.len();
    let answered = wait_until(PATIENCE, || kept() + said().len() as u64 >= all as u64);
    assert!(said().is_empty(), "the kernel's answers: {:?}", said());
    assert!(answered, "{} of {all} answers were kept back", kept());
    sniffer.assert_silent(server, Host::DEVICE);
}
