//! CONFIRM: what a server takes as one, and that it is never a stage packet, nor the reverse.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::net::IpAddr;

use proptest::prelude::*;
use spa_proto::{
    CLIENT_PACKET, Confirm, HostAddr, MAX_CONFIRMS, MAX_PACKET, ServerSession, Session, danger,
};
use support::{PORTS, Refused, World, epoch, random};

/// A client's session and the server's view of it.
fn both(world: &World) -> (Session, ServerSession) {
    let session = world.knock();
    let pair = world.server_pair().unwrap();
    let big_e = pair.ephemeral(&session.packets()[0].1).unwrap();
    let server = ServerSession::agree(&world.server, &pair, &world.context, &big_e).unwrap();
    (session, server)
}

fn confirm(number: u8) -> Confirm {
    Confirm { number, address: IpAddr::from([192, 0, 2, 7]) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_confirm_arrives_as_it_was_made(number: u8, address: IpAddr, padding in 0usize..1000) {
        let world = World::fixed();
        let (client, server) = both(&world);
        let datagram = client.make_confirm(&world.pair, &Confirm { number, address }, padding);
        prop_assert_eq!(datagram.len(), CLIENT_PACKET + padding.min(MAX_PACKET - CLIENT_PACKET));
        prop_assert!(world.pair.mac_is_right(&datagram));
        prop_assert_eq!(&datagram[..8], &client.packets()[2].1[..8], "the last stage's tag");
        let big_e = world.pair.ephemeral(&datagram).unwrap();
        prop_assert_eq!(spa_proto::SessionId::of_ephemeral(&big_e), client.id());
        let host = HostAddr::new(address).filter(|_| (1..=MAX_CONFIRMS).contains(&number));
        let wanted = host.map(|host| Confirm { number, address: host.ip() });
        prop_assert_eq!(server.open_confirm(&datagram), wanted);
    }
}

#[test]
fn a_number_is_sealed_once_and_other_numbers_share_no_nonce() {
    let world = World::fresh();
    let (client, _) = both(&world);
    let mut nonces = std::collections::HashSet::new();
    for number in 1..=MAX_CONFIRMS {
        let make = || client.make_confirm(&world.pair, &confirm(number), 0);
        assert_eq!(make(), make());
        assert!(nonces.insert(make()[48..60].to_vec()), "{number}");
    }
}

#[test]
fn a_confirm_opens_in_its_own_session_only() {
    let world = World::fresh();
    let (client, server) = both(&world);
    let (_, other) = both(&world);
    let datagram = client.make_confirm(&world.pair, &confirm(1), 0);
    assert_eq!(server.open_confirm(&datagram), Some(confirm(1)));
    assert_eq!(other.open_confirm(&datagram), None);
    for at in 48..datagram.len() {
        let mut bad = datagram.clone();
        bad[at] ^= 0x80;
        assert!(!world.pair.mac_is_right(&bad), "byte {at}");
        assert_eq!(server.open_confirm(&bad), None, "byte {at}");
    }
    for len in 0..datagram.len() {
        assert_eq!(server.open_confirm(&datagram[..len]), None, "cut to {len}");
    }
}

/// With the right tag, mac and key of the other: neither ever opens as the other, nor as an answer.
#[test]
fn confirm_and_stage_never_open_as_each_other() {
    let world = World::fresh();
    for _ in 0..20 {
        let (client, server) = both(&world);
        for padding in [0, 1, 112, 896] {
            let datagram = client.make_confirm(&world.pair, &confirm(1), padding);
            let as_stage = world.see(epoch(), &PORTS, &datagram, PORTS[2]).map(|seen| seen.stage);
            assert_eq!(as_stage, Err(Refused::Aead));
            for stage in 0..8 {
                for port in PORTS {
                    assert!(server.open(&datagram, epoch(), stage, port).is_err());
                }
            }
            assert_eq!(client.open_ack(&datagram), None);
            assert_eq!(client.open_ack(&datagram[48..]), None);
        }
        for (_, packet) in client.packets() {
            assert_eq!(server.open_confirm(packet), None);
        }
    }
}

/// A plaintext that would be right as the other, under each key of its own.
#[test]
fn the_same_words_under_the_other_key_are_refused() {
    let world = World::fresh();
    let e = random();
    let server = world.server_session(e);
    let mut said = vec![0; 260];
    (said[0], said[8]) = (1, 0x20);
    let right = danger::confirm_packet(&world.parts(), e, epoch(), 2, &said).unwrap();
    assert!(server.open_confirm(&right).is_some());
    let as_stage = world.crafted(e, epoch(), 2, PORTS[2], &[&[0; 12][..], &said].concat());
    assert_eq!(server.open_confirm(&as_stage), None);
    let as_ack = danger::seal_ack_plaintext(&server, &said);
    let mut wrapped = right.clone();
    wrapped[48..].copy_from_slice(&as_ack);
    danger::replace_ephemeral(&world.pair, &mut wrapped, &world.big_e(e));
    assert_eq!(world.pair.ephemeral(&wrapped), Some(world.big_e(e)));
    assert_eq!(server.open_confirm(&wrapped), None);
}
