//! The body and its extension against a codec written by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv6Addr};

use proptest::prelude::*;
use spa_proto::{Body, BodyError, ClientPublic, Flags, KeyKind, Op};

const P: &str = "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";

/// Extension lengths by op and flags, as the specification's table has them.
fn ext_len(op: u8, flags: u8) -> usize {
    let keys = if op >= 3 { 160 } else { 0 };
    keys + [(2, 16), (4, 16), (8, 5), (16, 5)]
        .iter()
        .map(|(bit, len)| if flags & bit == 0 { 0 } else { *len })
        .sum::<usize>()
}

fn canonical(bytes: &[u8], mask: u8) -> bool {
    let mut big: Vec<u8> = bytes.iter().rev().copied().collect();
    big[0] &= mask;
    let p: Vec<u8> =
        (0..32).rev().map(|i| u8::from_str_radix(&P[2 * i..2 * i + 2], 16).unwrap()).collect();
    big < p
}

/// Tells whether these flags go with this op.
fn known(op: u8, flags: u8) -> bool {
    let close = match flags & (2 | 4 | 32) {
        0 => false,
        both if both & 36 == 36 => false,
        _ => true,
    };
    match op {
        0 | 1 => flags & !0x0f == 0,
        2 => flags & !0x2f == 0 && close,
        3 | 4 => flags & !0x5b == 0,
        _ => false,
    }
}

fn known_pairs() -> Vec<(u8, u8)> {
    let all = (0..5).flat_map(|op| (0..128).map(move |flags| (op, flags)));
    all.filter(|(op, flags)| known(*op, *flags)).collect()
}

/// The oracle: offsets and nothing else.
fn by_hand(bytes: &[u8], ext: &[u8]) -> Result<Body, BodyError> {
    let bytes: &[u8; 16] = bytes.try_into().map_err(|_| BodyError::Length)?;
    let number = |from: usize, to: usize| {
        bytes[from..to].iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let (op, flags, len) = (bytes[12], bytes[13], number(14, 16) as u16);
    if op > 4 {
        return Err(BodyError::Op(op));
    }
    if !known(op, flags) {
        return Err(BodyError::Flags(flags));
    }
    if usize::from(len) != ext_len(op, flags) {
        return Err(BodyError::Extension(len));
    }
    let (service, ttl_s) = (number(8, 10) as u16, number(10, 12) as u16);
    if op >= 3 && (service != 0 || ttl_s != 0) {
        return Err(BodyError::Unused);
    }
    if ext.len() != usize::from(len) {
        return Err(BodyError::Length);
    }
    let mut at = 0;
    let mut take = |len: usize| {
        at += len;
        &ext[at - len..at]
    };
    let bind_src = if flags & 2 == 0 { None } else { Some(address(take(16))?) };
    let for_addr = if flags & 4 == 0 { None } else { Some(address(take(16))?) };
    let touch_is_possible = |flags: u8| [1, 5, 9, 13, 17, 21, 25, 29].contains(&flags);
    let op = match op {
        0 => Op::Open,
        1 => Op::Renew,
        2 => Op::Close,
        _ => {
            let keys = take(64);
            if !canonical(&keys[..32], 0x7f) || !canonical(&keys[32..], 0xff) {
                return Err(BodyError::Keys);
            }
            take(32 + 64);
            let kind = if flags & 16 == 0 { KeyKind::Ed25519 } else { KeyKind::SecurityKey };
            if kind == KeyKind::SecurityKey && !touch_is_possible(take(5)[0]) {
                return Err(BodyError::Touch);
            }
            let keys = ClientPublic::from_bytes(keys.try_into().unwrap()).with_kind(kind);
            if op == 3 { Op::Enrol(keys) } else { Op::Rekey(keys) }
        }
    };
    if flags & 8 != 0 && !touch_is_possible(ext[ext.len() - 5]) {
        return Err(BodyError::Touch);
    }
    let has = |bit: u8| flags & bit != 0;
    let flags = Flags { want_ack: has(1), security_key: has(8), all: has(32), kem: has(64) };
    Ok(Body { ts_ms: number(0, 8), service, ttl_s, op, flags, bind_src, for_addr })
}

fn address(bytes: &[u8]) -> Result<IpAddr, BodyError> {
    let six = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap());
    let four = six.to_ipv4_mapped();
    if six.octets()[0] == 0xff || six.is_unspecified() {
        return Err(BodyError::Address);
    }
    if four.is_some_and(|v4| {
        v4.octets() == [0; 4] || v4.octets() == [255; 4] || v4.octets()[0] >> 4 == 0xe
    }) {
        return Err(BodyError::Address);
    }
    Ok(four.map_or(IpAddr::V6(six), IpAddr::V4))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn any_16_bytes_decode_as_by_hand(bytes: [u8; 16], ext in prop::collection::vec(any::<u8>(), 0..190)) {
        prop_assert_eq!(Body::decode(&bytes, &ext), by_hand(&bytes, &ext));
    }

    /// The same with bytes that are nearly right, so that every branch is taken often.
    #[test]
    fn nearly_right_bytes_decode_as_by_hand(
        mut bytes: [u8; 16],
        (op, flags, bare) in (0u8..6, 0u8..140, any::<bool>()),
        off in prop::sample::select(vec![0i32, 0, 0, 0, 0, 0, 1, -1, 5, 64]),
        cut in prop::sample::select(vec![0usize, 0, 0, 0, 0, 0, 0, 1]),
        mut ext in prop::collection::vec(any::<u8>(), 186),
        edges in prop::collection::vec((0usize..186, prop::sample::select(vec![0u8, 1, 5, 0x7f, 0xed, 0xff])), 0..6),
        mapped: bool,
    ) {
        let len = u16::try_from((ext_len(op, flags) as i32 + off).max(0)).unwrap();
        (bytes[12], bytes[13]) = (op, flags);
        bytes[14..].copy_from_slice(&len.to_be_bytes());
        if bare {
            bytes[8..12].fill(0);
        }
        if mapped {
            ext[..12].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
        }
        let end = usize::from(len).min(ext.len());
        ext.truncate(end);
        for (at, value) in edges {
            if let Some(byte) = ext.get_mut(at) {
                *byte = value;
            }
        }
        ext.truncate(end.saturating_sub(cut));
        let decoded = Body::decode(&bytes, &ext);
        prop_assert_eq!(decoded, by_hand(&bytes, &ext));
        if let Ok(body) = decoded {
            prop_assert_eq!(body.encode(), bytes, "one value, one encoding");
        }
    }

    /// Touches and keys that are right, so that whole extensions are read to the end.
    #[test]
    fn right_extensions_are_read(
        mut bytes: [u8; 16],
        (op, flags) in prop::sample::select(known_pairs()),
        mut ext in prop::collection::vec(any::<u8>(), 186),
        touches in (any::<bool>(), any::<bool>()),
    ) {
        let len = ext_len(op, flags);
        (bytes[12], bytes[13], bytes[14], bytes[15]) = (op, flags, 0, u8::try_from(len).unwrap());
        ext.truncate(len);
        if op >= 3 {
            bytes[8..12].fill(0);
            let at = if flags & 2 == 0 { 0 } else { 16 };
            (ext[at + 30], ext[at + 63]) = (0, ext[at + 63] & 0x3f);
        }
        let addresses = (flags & 2 != 0, flags & 4 != 0);
        for (at, has) in [(0, addresses.0 || addresses.1), (16, addresses.0 && addresses.1)] {
            if has {
                ext[at] = 0x20;
            }
        }
        let touch = |byte: &mut u8, verified: bool| *byte = if verified { 5 } else { 1 };
        if flags & 16 != 0 {
            touch(&mut ext[if flags & 2 == 0 { 160 } else { 176 }], touches.0);
        }
        if flags & 8 != 0 {
            touch(&mut ext[len - 5], touches.1);
        }
        let body = Body::decode(&bytes, &ext);
        prop_assert!(body.is_ok(), "{body:?}");
        prop_assert_eq!(body, by_hand(&bytes, &ext));
        prop_assert_eq!(body.unwrap().encode(), bytes);
    }

    #[test]
    fn any_other_length_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assume!(bytes.len() != 16);
        prop_assert_eq!(Body::decode(&bytes, &[]), Err(BodyError::Length));
    }
}

/// Every op byte with every flags byte: accepted where the table says so, with its own length and
/// no other.
#[test]
fn all_ops_and_flags() {
    let mut accepted = 0;
    for op in 0..=255u8 {
        for flags in 0..=255u8 {
            let mut bytes = [0; 16];
            (bytes[12], bytes[13]) = (op, flags);
            let mut right = None;
            let known = known(op, flags);
            // What is not known has no length at all; the lengths that others have are tried.
            let lengths = if known {
                (0..=186).collect()
            } else {
                vec![0usize, 5, 16, 21, 32, 37, 160, 165, 170, 176, 181, 186]
            };
            for len in lengths {
                bytes[15] = u8::try_from(len).unwrap();
                // Whatever is an address, a key or a touch is a right one.
                let ext = vec![1; len];
                if Body::decode(&bytes, &ext).is_ok() {
                    assert_eq!(right.replace(len), None, "two lengths for {op} {flags:#x}");
                }
            }
            assert_eq!(right, known.then(|| ext_len(op, flags)), "op {op} flags {flags:#x}");
            accepted += u32::from(right.is_some());
        }
    }
    // OPEN and RENEW have four free flags, ENROL and REKEY five; of the eight ways in which a CLOSE says
    // where, five are right.
    assert_eq!(accepted, 2 * 16 + 4 * 5 + 2 * 32);
}
