//! The body and its extension against a codec written by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv6Addr};

use proptest::prelude::*;
use spa_proto::{Body, BodyError, ClientPublic, Flags, KeyKind, Op};

const P: &str = "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";

/// Extension lengths by op and flags, as the specification's table has them.
fn ext_len(op: u8, flags: u8) -> usize {
    let keys = if op >= 3 { 128 } else { 0 };
    keys + [(4, 16), (8, 5), (16, 5)]
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
    if flags >= 32 || (op >= 3 && flags & 4 != 0) || (op < 3 && flags & 16 != 0) {
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
    let for_addr = if flags & 4 == 0 {
        None
    } else {
        let six = Ipv6Addr::from(<[u8; 16]>::try_from(&ext[..16]).unwrap());
        let four = six.to_ipv4_mapped();
        if six.octets()[0] == 0xff || six.is_unspecified() {
            return Err(BodyError::Address);
        }
        if four.is_some_and(|v4| {
            v4.octets() == [0; 4] || v4.octets() == [255; 4] || v4.octets()[0] >> 4 == 0xe
        }) {
            return Err(BodyError::Address);
        }
        Some(four.map_or(IpAddr::V6(six), IpAddr::V4))
    };
    let touch_is_possible = |flags: u8| [1, 5, 9, 13, 17, 21, 25, 29].contains(&flags);
    let op = match op {
        0 => Op::Open,
        1 => Op::Renew,
        2 => Op::Close,
        _ => {
            if !canonical(&ext[..32], 0x7f) || !canonical(&ext[32..64], 0xff) {
                return Err(BodyError::Keys);
            }
            let kind = if flags & 16 == 0 { KeyKind::Ed25519 } else { KeyKind::SecurityKey };
            if kind == KeyKind::SecurityKey && !touch_is_possible(ext[128]) {
                return Err(BodyError::Touch);
            }
            let keys = ClientPublic::from_bytes(ext[..64].try_into().unwrap()).with_kind(kind);
            if op == 3 { Op::Enrol(keys) } else { Op::Rekey(keys) }
        }
    };
    if flags & 8 != 0 && !touch_is_possible(ext[ext.len() - 5]) {
        return Err(BodyError::Touch);
    }
    let flags =
        Flags { want_ack: flags & 1 != 0, bind_src: flags & 2 != 0, security_key: flags & 8 != 0 };
    Ok(Body { ts_ms: number(0, 8), service, ttl_s, op, flags, for_addr })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn any_16_bytes_decode_as_by_hand(bytes: [u8; 16], ext in prop::collection::vec(any::<u8>(), 0..140)) {
        prop_assert_eq!(Body::decode(&bytes, &ext), by_hand(&bytes, &ext));
    }

    /// The same with bytes that are nearly right, so that every branch is taken often.
    #[test]
    fn nearly_right_bytes_decode_as_by_hand(
        mut bytes: [u8; 16],
        (op, flags, bare) in (0u8..6, 0u8..36, any::<bool>()),
        off in prop::sample::select(vec![0i32, 0, 0, 0, 0, 0, 1, -1, 5, 64]),
        cut in prop::sample::select(vec![0usize, 0, 0, 0, 0, 0, 0, 1]),
        mut ext in prop::collection::vec(any::<u8>(), 138),
        edges in prop::collection::vec((0usize..138, prop::sample::select(vec![0u8, 1, 5, 0x7f, 0xed, 0xff])), 0..6),
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
        (op, flags) in (0u8..5, 0u8..32),
        mut ext in prop::collection::vec(any::<u8>(), 138),
        touches in (any::<bool>(), any::<bool>()),
    ) {
        let flags = flags & if op >= 3 { 0x1b } else { 0x0f };
        let len = ext_len(op, flags);
        (bytes[12], bytes[13], bytes[14], bytes[15]) = (op, flags, 0, u8::try_from(len).unwrap());
        ext.truncate(len);
        if op >= 3 {
            bytes[8..12].fill(0);
            (ext[30], ext[63]) = (0, ext[63] & 0x3f);
        } else if flags & 4 != 0 {
            ext[0] = 0x20;
        }
        let touch = |byte: &mut u8, verified: bool| *byte = if verified { 5 } else { 1 };
        if flags & 16 != 0 {
            touch(&mut ext[128], touches.0);
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
            let mut ext = [0; 138];
            ext[0] = 0x20;
            let mut right = None;
            let known = op < 5 && flags < 32 && flags & if op >= 3 { 4 } else { 16 } == 0;
            // What is not known has no length at all; the lengths that others have are tried.
            let lengths =
                if known { (0..=138).collect() } else { vec![0usize, 5, 16, 21, 128, 133, 138] };
            for len in lengths {
                bytes[15] = u8::try_from(len).unwrap();
                // Whatever is a touch is one.
                let mut ext = ext[..len].to_vec();
                for at in
                    [Some(128), len.checked_sub(5)].into_iter().flatten().filter(|at| *at >= 16)
                {
                    if let Some(byte) = ext.get_mut(at) {
                        *byte = 1;
                    }
                }
                if len == 5 {
                    ext[0] = 1;
                }
                if Body::decode(&bytes, &ext).is_ok() {
                    assert_eq!(right.replace(len), None, "two lengths for {op} {flags:#x}");
                }
            }
            assert_eq!(right, known.then(|| ext_len(op, flags)), "op {op} flags {flags:#x}");
            accepted += u32::from(right.is_some());
        }
    }
    assert_eq!(accepted, 5 * 16);
}
