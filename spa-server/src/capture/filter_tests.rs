#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::SocketAddr;

use proptest::prelude::*;

use super::super::packet::udp_packet;
use super::*;

/// The kernel's semantics of the instructions used, with its rule that a load beyond the packet
/// drops it.
fn run(program: &[Instruction], packet: &[u8], packet_type: u8) -> u32 {
    let half =
        |at: usize| Some(u32::from(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?])));
    let (mut a, mut x, mut pc) = (0_u32, 0_u32, 0_usize);
    loop {
        let i = program[pc];
        pc += 1;
        let at = i.k as usize;
        let loaded = match i.code {
            LD_BYTE if i.k == PACKET_TYPE => Some(packet_type.into()),
            LD_BYTE => packet.get(at).map(|b| u32::from(*b)),
            LD_HALF => half(at),
            LD_HALF_X => half(at + x as usize),
            LDX_CONST => {
                x = i.k;
                continue;
            }
            LDX_IHL => {
                let Some(byte) = packet.get(at) else { return 0 };
                x = u32::from(byte & 15) * 4;
                continue;
            }
            RETURN_LENGTH => return i.k,
            _ => {
                let holds = match i.code {
                    JUMP_IF_EQUAL => a == i.k,
                    JUMP_IF_GREATER => a > i.k,
                    JUMP_IF_GREATER_OR_EQUAL => a >= i.k,
                    JUMP_IF_ANY_BIT => a & i.k != 0,
                    code => panic!("instruction {code:#x}"),
                };
                pc += usize::from(if holds { i.jt } else { i.jf });
                continue;
            }
        };
        let Some(value) = loaded else { return 0 };
        a = value;
    }
}

fn range(first: u16, last: u16) -> PortRange {
    PortRange { first, last }
}

fn packet(six: bool, port: u16, len: usize) -> Vec<u8> {
    let (from, to) =
        if six { ("[2001:db8::7]", "[2001:db8::1]") } else { ("192.0.2.7", "192.0.2.1") };
    let from: SocketAddr = format!("{from}:999").parse().unwrap();
    let to: SocketAddr = format!("{to}:{port}").parse().unwrap();
    udp_packet(from, to, &vec![0; len]).unwrap()
}

fn program(six: bool, ports: &[PortRange]) -> Vec<Instruction> {
    if six { compile_ipv6(ports).unwrap() } else { compile_ipv4(ports).unwrap() }
}

fn accepts(six: bool, ports: &[PortRange], packet: &[u8]) -> bool {
    run(&program(six, ports), packet, 0) == SNAP_LEN
}

#[test]
fn ports_at_the_edges_of_ranges() {
    let ports = [range(2000, 2010), range(17, 17), range(65535, 65535), range(2012, 2012)];
    for six in [false, true] {
        for port in [17, 2000, 2005, 2010, 2012, 65535] {
            assert!(accepts(six, &ports, &packet(six, port, 144)), "{port}");
        }
        for port in [1, 16, 18, 1999, 2011, 2013, 65534] {
            assert!(!accepts(six, &ports, &packet(six, port, 144)), "{port}");
        }
        assert!(!accepts(six, &[], &packet(six, 17, 144)));
    }
}

#[test]
fn lengths() {
    for six in [false, true] {
        for (len, want) in [(0, false), (143, false), (144, true), (1232, true), (1233, false)] {
            assert_eq!(accepts(six, &[range(7, 7)], &packet(six, 7, len)), want, "{len}");
        }
    }
}

#[test]
fn only_for_this_host() {
    for six in [false, true] {
        for packet_type in 1..8 {
            let program = program(six, &[range(7, 7)]);
            assert_eq!(run(&program, &packet(six, 7, 144), packet_type), 0);
        }
    }
}

#[test]
fn ipv4_fragments_other_protocols_and_options() {
    let ports = [range(7, 7)];
    for (at, value) in [(6, 0x20), (7, 1), (9, 6)] {
        let mut p = packet(false, 7, 144);
        p[at] = value;
        assert!(!accepts(false, &ports, &p));
    }
    let mut p = packet(false, 7, 144);
    p.splice(20..20, [1; 8]);
    p[0] = 0x47;
    assert!(accepts(false, &ports, &p));
}

#[test]
fn ipv6_with_extensions_goes_to_user_space() {
    let ports = [range(7, 7)];
    let with = |next: u8, extension: [u8; 8], len: usize| {
        let mut p = packet(true, 9, len);
        p.splice(40..40, extension);
        p[6] = next;
        let length = u16::try_from(p.len() - 40).unwrap();
        p[4..6].copy_from_slice(&length.to_be_bytes());
        p
    };
    for next in [0, 43, 60, 44] {
        assert!(accepts(true, &ports, &with(next, [17, 0, 0, 0, 0, 0, 0, 0], 144)));
        assert!(!accepts(true, &ports, &with(next, [17, 0, 0, 0, 0, 0, 0, 0], 143)));
    }
    for bits in [1, 8] {
        assert!(!accepts(true, &ports, &with(44, [17, 0, 0, bits, 0, 0, 0, 0], 144)));
    }
    for next in [6, 50, 51, 58, 59] {
        assert!(!accepts(true, &ports, &with(next, [17, 0, 0, 0, 0, 0, 0, 0], 144)));
    }
}

#[test]
fn ranges_are_merged_and_bounded() {
    let many: Vec<_> = (0..MAX_RANGES as u16).map(|i| range(10 + 10 * i, 15 + 10 * i)).collect();
    for six in [false, true] {
        assert!(accepts(six, &many, &packet(six, 10, 144)));
        assert!(accepts(six, &many, &packet(six, 15 + 10 * (MAX_RANGES as u16 - 1), 144)));
    }
    let more = [&many[..], &[range(60_000, 60_000)]].concat();
    assert_eq!(compile_ipv4(&more).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(compile_ipv6(&more).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    let touching = [range(1, 3), range(4, 6), range(2, 5), range(65535, 65535), range(9, 65535)];
    assert_eq!(merge_ranges(&touching).unwrap(), [range(1, 6), range(9, 65535)]);
}

proptest! {
    #[test]
    fn agrees_with_the_ranges(
        six in any::<bool>(),
        ranges in proptest::collection::vec((1_u16.., 0_u16..300), 0..16),
        port in 1_u16..,
    ) {
        let ranges: Vec<_> = ranges.iter().map(|(a, n)| range(*a, a.saturating_add(*n))).collect();
        let want = ranges.iter().any(|r| r.contains(port));
        prop_assert_eq!(accepts(six, &ranges, &packet(six, port, 200)), want);
    }

    #[test]
    fn any_bytes_end_in_a_verdict(
        six in any::<bool>(),
        bytes in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let verdict = run(&program(six, &[range(1, 65535)]), &bytes, 0);
        prop_assert!(verdict == 0 || verdict == SNAP_LEN);
    }
}
