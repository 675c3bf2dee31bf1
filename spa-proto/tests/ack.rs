//! The ack: what comes back, and that nothing else is taken for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use spa_proto::{Ack, Reason, ServerSession, Session, Status};
use support::vectors::acks::{answers, example_keys};
use support::{World, epoch};

/// A client's session and the server's view of it.
fn both(world: &World) -> (Session, ServerSession) {
    let session = world.knock();
    let pair = world.server_pair().unwrap();
    let big_e = pair.ephemeral(&session.packets()[0].1).unwrap();
    let server = ServerSession::agree(&world.server, &pair, &world.context, &big_e).unwrap();
    (session, server)
}

fn ack(status: Status, reason: Reason, observed: SocketAddr) -> Ack {
    Ack {
        status,
        reason,
        ttl_s: 300,
        server_ms: epoch() * 60_000,
        observed,
        number: 0,
        provisional: false,
        rekey_wanted: false,
    }
}

/// A refusal has a reason and a grant has none: every other pair opens as nothing.
#[test]
fn every_status_and_reason_round_trips_or_contradicts_itself() {
    let world = World::fresh();
    let (client, server) = both(&world);
    let reasons: Vec<Reason> = answers().into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons.len(), 18);
    for status in [Status::Granted, Status::Denied, Status::Stale, Status::Busy] {
        for reason in &reasons {
            for observed in ["192.0.2.1:1", "[2001:db8::1]:65535", "0.0.0.0:0", "[::]:0"] {
                let ack = ack(status, *reason, observed.parse().unwrap());
                let bytes = server.seal_ack(&ack, None);
                let sound = (status == Status::Granted) == (*reason == Reason::None);
                assert_eq!(client.open_ack(&bytes), sound.then_some((ack, None)));
                assert!(bytes.len() < spa_proto::MIN_PACKET);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_ack_round_trips(
        (ttl_s, server_ms, ip, port) in any::<(u16, u64, IpAddr, u16)>(),
        which in 0usize..18,
        (number, provisional, rekey_wanted, told) in any::<(u8, bool, bool, bool)>(),
    ) {
        let world = World::fixed();
        let (client, server) = both(&world);
        let (status, reason) = answers()[which];
        // A v4-mapped address is the IPv4 address.
        let observed = SocketAddr::new(ip.to_canonical(), port);
        let ack =
            Ack { status, reason, ttl_s, server_ms, observed, number, provisional, rekey_wanted };
        let mapped = Ack { observed: SocketAddr::new(ip, port), ..ack };
        let keys = told.then(example_keys);
        let bytes = server.seal_ack(&mapped, keys.as_ref());
        prop_assert_eq!(bytes.len(), if told { 124 } else { 60 });
        let sound = number <= 8 && (status == Status::Granted || !provisional);
        prop_assert_eq!(client.open_ack(&bytes), sound.then_some((ack, keys)));
    }
}

#[test]
fn every_flipped_bit_and_wrong_length_of_an_ack_is_refused() {
    let world = World::fresh();
    let (client, server) = both(&world);
    let ack = ack(Status::Granted, Reason::None, "192.0.2.1:1".parse().unwrap());
    for keys in [None, Some(example_keys())] {
        refuse_all_near(&client, &server.seal_ack(&ack, keys.as_ref()));
    }
}

fn refuse_all_near(client: &Session, bytes: &[u8]) {
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bad = bytes.to_vec();
            bad[at] ^= 1 << bit;
            assert_eq!(client.open_ack(&bad), None, "byte {at} bit {bit}");
        }
        assert_eq!(client.open_ack(&bytes[..at]), None, "cut to {at}");
    }
    assert_eq!(client.open_ack(&[bytes, &[0]].concat()), None);
}

#[test]
fn an_ack_opens_in_its_own_session_only() {
    let world = World::fresh();
    let (client, server) = both(&world);
    let (other_client, other_server) = both(&world);
    let ack = ack(Status::Denied, Reason::From, "192.0.2.1:1".parse().unwrap());
    let bytes = server.seal_ack(&ack, None);
    assert_eq!(client.open_ack(&bytes), Some((ack, None)));
    assert_eq!(other_client.open_ack(&bytes), None);
    assert_eq!(client.open_ack(&other_server.seal_ack(&ack, None)), None);
    for (_, packet) in client.packets() {
        assert_eq!(client.open_ack(packet), None);
        assert_eq!(client.open_ack(&packet[..60]), None);
    }
}

/// The nonce is a function of the plaintext: equal answers are equal bytes, others share no nonce.
#[test]
fn equal_acks_are_equal_bytes_and_no_others_share_a_nonce() {
    let world = World::fresh();
    let (_, server) = both(&world);
    let (_, other) = both(&world);
    let first = ack(Status::Granted, Reason::None, "192.0.2.1:1".parse().unwrap());
    assert_eq!(server.seal_ack(&first, None), server.seal_ack(&first, None));
    let keys = example_keys();
    let mut nonces = std::collections::HashSet::new();
    let mut add = |bytes: Vec<u8>| assert!(nonces.insert(bytes[..12].to_vec()), "repeated");
    add(server.seal_ack(&first, None));
    add(server.seal_ack(&first, Some(&keys)));
    add(other.seal_ack(&first, None));
    for number in 1..=8 {
        add(server.seal_ack(&Ack { number, ..first }, None));
        add(server.seal_ack(&Ack { number, server_ms: 1, ..first }, None));
    }
}
