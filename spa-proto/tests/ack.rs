//! The ack: what comes back, and that nothing else is taken for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use spa_proto::{Ack, PairKey, Reason, ServerSession, Session, Status};
use support::vectors::answers;
use support::{World, epoch};

/// A client's session and the server's view of it.
fn both(world: &World) -> (Session, ServerSession) {
    let session = world.knock();
    let big_e = world.gate.ephemeral(&session.packets()[0].1).unwrap();
    let pair = PairKey::of_server(&world.psk, &world.server, &world.client_public, &world.context)
        .unwrap();
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
    assert_eq!(reasons.len(), 17);
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
    fn any_ack_round_trips(ttl_s: u16, server_ms: u64, ip: IpAddr, port: u16, which in 0usize..17) {
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
    let bytes = server
        .seal_ack(&ack(Status::Granted, Reason::None, "192.0.2.1:1".parse().unwrap()))
        .unwrap();
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
