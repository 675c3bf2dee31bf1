//! The body against a codec written by hand, and the ack.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use spa_proto::{Ack, Body, BodyError, Flags, Op, PairKey, Reason, ServerSession, Session, Status};
use support::vectors::answers;
use support::{World, epoch};

/// The oracle: offsets and nothing else.
fn by_hand(bytes: &[u8]) -> Result<Body, BodyError> {
    let bytes: &[u8; 16] = bytes.try_into().map_err(|_| BodyError::Length)?;
    let number =
        |from: usize, to: usize| bytes[from..to].iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let op = match bytes[12] {
        0 => Op::Open,
        1 => Op::Renew,
        2 => Op::Close,
        other => return Err(BodyError::Op(other)),
    };
    if bytes[13] > 3 {
        return Err(BodyError::Flags(bytes[13]));
    }
    if bytes[14..] != [0, 0] {
        return Err(BodyError::Extension(number(14, 16) as u16));
    }
    Ok(Body {
        ts_ms: number(0, 8),
        service: number(8, 10) as u16,
        ttl_s: number(10, 12) as u16,
        op,
        flags: Flags { want_ack: bytes[13] % 2 == 1, bind_src: bytes[13] >= 2 },
    })
}

fn to_bytes_by_hand(body: &Body) -> Vec<u8> {
    let op = [Op::Open, Op::Renew, Op::Close].iter().position(|op| *op == body.op).unwrap();
    let flags = match (body.flags.want_ack, body.flags.bind_src) {
        (false, false) => 0,
        (true, false) => 1,
        (false, true) => 2,
        (true, true) => 3,
    };
    let numbers = [
        (body.ts_ms, 8),
        (body.service.into(), 2),
        (body.ttl_s.into(), 2),
        (op as u64, 1),
        (flags, 1),
        (0, 2),
    ];
    numbers.iter().flat_map(|(n, size)| (0..*size).rev().map(move |i| (n >> (8 * i)) as u8)).collect()
}

fn bodies() -> impl Strategy<Value = Body> {
    let ops = prop::sample::select(vec![Op::Open, Op::Renew, Op::Close]);
    (any::<u64>(), any::<u16>(), any::<u16>(), ops, any::<bool>(), any::<bool>()).prop_map(
        |(ts_ms, service, ttl_s, op, want_ack, bind_src)| Body {
            ts_ms,
            service,
            ttl_s,
            op,
            flags: Flags { want_ack, bind_src },
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn any_16_bytes_decode_as_by_hand(bytes: [u8; 16]) {
        prop_assert_eq!(Body::decode(&bytes), by_hand(&bytes));
    }

    /// The same with bytes that are nearly right, so that every branch is taken often.
    #[test]
    fn nearly_right_bytes_decode_as_by_hand(mut bytes: [u8; 16], op in 0u8..5, flags in 0u8..6, ext in prop::sample::select(vec![0u16, 1, 64, 256])) {
        bytes[12] = op;
        bytes[13] = flags;
        bytes[14..].copy_from_slice(&ext.to_be_bytes());
        let decoded = Body::decode(&bytes);
        prop_assert_eq!(decoded, by_hand(&bytes));
        if let Ok(body) = decoded {
            prop_assert_eq!(body.encode(), bytes, "one value, one encoding");
        }
    }

    #[test]
    fn any_other_length_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assume!(bytes.len() != 16);
        prop_assert_eq!(Body::decode(&bytes), Err(BodyError::Length));
    }

    #[test]
    fn any_body_encodes_as_by_hand(body in bodies()) {
        prop_assert_eq!(&body.encode()[..], &to_bytes_by_hand(&body)[..]);
        prop_assert_eq!(Body::decode(&body.encode()), Ok(body));
    }
}

/// Every op byte and every flags byte.
#[test]
fn all_ops_and_flags() {
    for byte in 0..=255u8 {
        let mut bytes = [0; 16];
        bytes[12] = byte;
        assert_eq!(Body::decode(&bytes).is_ok(), byte <= 2, "op {byte}");
        bytes[12] = 0;
        bytes[13] = byte;
        assert_eq!(Body::decode(&bytes).is_ok(), byte <= 3, "flags {byte}");
    }
}

/// A client's session and the server's view of it.
fn both(world: &World) -> (Session, ServerSession) {
    let session = world.knock();
    let big_e = world.gate.ephemeral(&session.packets()[0].1).unwrap();
    let pair = PairKey::of_server(&world.psk, &world.server, &world.client_public, &world.context).unwrap();
    let server = ServerSession::agree(&world.server, &pair, &world.context, &big_e).unwrap();
    (session, server)
}

fn ack(status: Status, reason: Reason, observed: SocketAddr) -> Ack {
    Ack { status, reason, ttl_s: 300, server_ms: epoch() * 60_000, observed }
}

#[test]
fn every_status_and_reason_round_trips() {
    let world = World::fresh();
    let (client, server) = both(&world);
    let reasons: Vec<Reason> = answers().into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons.len(), 15);
    for status in [Status::Granted, Status::Denied, Status::Stale, Status::Busy] {
        for reason in &reasons {
            for observed in ["192.0.2.1:1", "[2001:db8::1]:65535", "0.0.0.0:0", "[::]:0"] {
                let ack = ack(status, *reason, observed.parse().unwrap());
                let bytes = server.seal_ack(&ack).unwrap();
                assert_eq!(client.open_ack(&bytes), Some(ack));
                assert!(bytes.len() < spa_proto::MIN_PACKET);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_ack_round_trips(ttl_s: u16, server_ms: u64, ip: IpAddr, port: u16, which in 0usize..15) {
        let world = World::fixed();
        let (client, server) = both(&world);
        let (status, reason) = answers()[which];
        // A v4-mapped address is the IPv4 address.
        let ack = Ack { status, reason, ttl_s, server_ms, observed: SocketAddr::new(ip.to_canonical(), port) };
        let mapped = Ack { observed: SocketAddr::new(ip, port), ..ack };
        prop_assert_eq!(client.open_ack(&server.seal_ack(&mapped).unwrap()), Some(ack));
    }
}

#[test]
fn every_flipped_bit_and_wrong_length_of_an_ack_is_refused() {
    let world = World::fresh();
    let (client, server) = both(&world);
    let bytes = server.seal_ack(&ack(Status::Granted, Reason::None, "192.0.2.1:1".parse().unwrap())).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bad = bytes;
            bad[at] ^= 1 << bit;
            assert_eq!(client.open_ack(&bad), None, "byte {at} bit {bit}");
        }
        assert_eq!(client.open_ack(&bytes[..at]), None, "cut to {at}");
    }
    assert_eq!(client.open_ack(&[&bytes[..], &[0]].concat()), None);
}

#[test]
fn an_ack_opens_in_its_own_session_only() {
    let world = World::fresh();
    let (client, server) = both(&world);
    let (other_client, other_server) = both(&world);
    let ack = ack(Status::Denied, Reason::From, "192.0.2.1:1".parse().unwrap());
    let bytes = server.seal_ack(&ack).unwrap();
    assert_eq!(client.open_ack(&bytes), Some(ack));
    assert_eq!(other_client.open_ack(&bytes), None);
    assert_eq!(client.open_ack(&other_server.seal_ack(&ack).unwrap()), None);
    for (_, packet) in client.packets() {
        assert_eq!(client.open_ack(packet), None);
        assert_eq!(client.open_ack(&packet[..60]), None);
    }
}

#[test]
fn two_seals_of_one_ack_differ() {
    let world = World::fresh();
    let (_, server) = both(&world);
    let ack = ack(Status::Granted, Reason::None, "192.0.2.1:1".parse().unwrap());
    assert_ne!(server.seal_ack(&ack).unwrap()[..], server.seal_ack(&ack).unwrap()[..]);
}
