//! What the specification claims of a stolen psk, of repeated random bytes, and of new keys by
//! either of two server keys.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::HashMap;

use proptest::prelude::*;
use spa_proto::{
    ClientSecret, Context, Op, PairKeys, Psk, Request, ServerPublic, ServerSecret, Session,
    SessionParts, Successor, TagKey, danger,
};
use support::touch::Token;
use support::{PORTS, Refused, TS, World, counted, epoch, random};

/// The thief has the psk and everybody's public keys, and tries every Diffie-Hellman that he can
/// make: tags are his, the gate behind them is not.
#[test]
fn psk_alone_passes_no_mac_and_unmasks_no_ephemeral_key() {
    let world = World::fresh();
    let knock = world.knock();
    let (port, packet) = &knock.packets()[0];
    let big_e = world.pair.ephemeral(packet).unwrap();
    assert!(world.pair.mac_is_right(packet));
    let (psk, context) = (&world.psk, &world.context);
    let tag = TagKey::derive(psk, context);
    assert_eq!(tag.tag(epoch(), 0), packet[..8], "who has the psk can tell its knocks");
    let own = ServerSecret::from_bytes(random());
    let stranger = ClientSecret::from_bytes(random());
    let guesses = [
        PairKeys::of_server(psk, &own, &world.client_public, context),
        PairKeys::of_client(psk, &stranger, &world.server_public, context),
        PairKeys::of_client(psk, &stranger, &own.public(), context),
        PairKeys::of_client(psk, &stranger, &ServerPublic(world.client_public.dh), context),
        PairKeys::of_client(psk, &stranger, &ServerPublic(big_e), context),
    ];
    for (at, guess) in guesses.iter().enumerate() {
        let guess = guess.as_ref().unwrap();
        assert!(!guess.mac_is_right(packet), "guess {at}");
        assert_ne!(guess.ephemeral(packet), Some(big_e), "guess {at}");
        let parts = SessionParts { pair: guess, tag: &tag, ..world.parts() };
        let forged = Session::new(&parts, &world.request(), TS).unwrap();
        let verdict = world.see(epoch(), &PORTS, &forged.packets()[0].1, *port);
        assert_eq!(verdict.map(|seen| seen.stage), Err(Refused::Mac), "guess {at}");
    }
}

/// Nor does the static Diffie-Hellman alone.
#[test]
fn the_static_agreement_without_the_psk_passes_nothing() {
    let world = World::fresh();
    let knock = world.knock();
    let (_, packet) = &knock.packets()[0];
    for psk in [Psk::from_bytes([0; 32]), Psk::from_bytes(random())] {
        let guess =
            PairKeys::of_client(&psk, &world.client, &world.server_public, &world.context).unwrap();
        assert!(!guess.mac_is_right(packet));
        assert_ne!(guess.ephemeral(packet), world.pair.ephemeral(packet));
        assert_ne!(TagKey::derive(&psk, &world.context).tag(epoch(), 0), packet[..8]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// A clone whose random bytes repeat: an ephemeral key comes back with the whole session only.
    #[test]
    fn repeated_random_bytes_with_another_request_never_repeat_an_ephemeral_key(
        asked in prop::collection::vec(
            (0u64..2, 0u16..2, 0u16..2, 0usize..3, any::<bool>(), 0u8..3, 0u8..3,
                prop::sample::select(vec![&[1u16][..], &[2], &[1, 2], &[2, 1]]), 0usize..2),
            2..12,
        ),
    ) {
        let world = World::fixed();
        let address = |n: u8| (n > 0).then(|| std::net::IpAddr::from([192, 0, 2, n]));
        let mut seen: HashMap<[u8; 32], Vec<(u16, Vec<u8>)>> = HashMap::new();
        let mut requests = std::collections::HashSet::new();
        for asked in &asked {
            let (later, service, ttl_s, op, want_ack, bound, other, ports, padding) = *asked;
            let op = [Op::Open, Op::Renew, Op::Close][op];
            let all = op == Op::Close && bound == 0 && other == 0;
            let request = Request {
                service, ttl_s, op, want_ack, bind_src: address(bound), for_addr: address(other),
                all, ports, padding: &[padding],
            };
            let session =
                danger::session_with_random(&world.parts(), &request, TS + later, counted(1)).unwrap();
            let big_e = world.pair.ephemeral(&session.packets()[0].1).unwrap();
            requests.insert(format!("{asked:?}"));
            let before = seen.entry(big_e).or_insert_with(|| session.packets().to_vec());
            prop_assert_eq!(&before[..], session.packets(), "one key, two sessions");
        }
        prop_assert_eq!(seen.len(), requests.len());
    }
}

/// Who knows the random bytes and not the seed does not know the ephemeral secret: it depends on
/// both, and neither another seed nor another server meets it again.
#[test]
fn the_hedge_depends_on_seed_and_pair() {
    let worlds = [
        World::fixed(),
        World::of(counted(0), counted(0x21), counted(0x40)),
        World::of(counted(1), counted(0x20), counted(0x40)),
    ];
    let mut seen = std::collections::HashSet::new();
    for world in &worlds {
        for other in &worlds {
            let parts = SessionParts { hedge: &other.hedge, ..world.parts() };
            let made = danger::session_with_random(&parts, &world.request(), TS, [0; 32]).unwrap();
            seen.insert(world.pair.ephemeral(&made.packets()[0].1).unwrap());
        }
    }
    // The first and the third share a seed, and so a hedge: three contexts by two hedges.
    assert_eq!(seen.len(), 6);
}

/// What the hedge does not mend: a security key signs along a counter that nobody knows before. A
/// clone that repeats random bytes and millisecond seals two texts under one key.
#[test]
fn the_hedge_of_a_security_key_needs_another_millisecond() {
    let token = Token::new(counted(0xd0));
    let world = World::fixed().with_token(&token);
    let parts = SessionParts { signer: &token, ..world.parts() };
    let at = |ts| danger::session_with_random(&parts, &world.request(), ts, [1; 32]).unwrap();
    let (first, second, later) = (at(TS), at(TS), at(TS + 1));
    assert_eq!(first.id(), second.id());
    assert_ne!(first.packets(), second.packets());
    assert_ne!(first.id(), later.id());
}

/// What a server with this key makes of a REKEY or ENROL of the pair.
fn succeeded(world: &World, disk: &ClientSecret, bind: Option<std::net::IpAddr>) -> Successor {
    let new = world.disk_successors(disk);
    let op = Op::Rekey(new.public);
    let request = Request { op, service: 0, ttl_s: 0, bind_src: bind, ..world.request() };
    let session = Session::with_new_keys(&world.parts(), &request, &new, TS).unwrap();
    let (port, packet) = &session.packets()[0];
    let seen = world.see(epoch(), &PORTS, packet, *port).map(|seen| seen.successor.unwrap());
    let successor = seen.map_err(|step| format!("{step:?}")).unwrap();
    assert_eq!(successor.psk, new.psk(), "both sides come to one psk");
    successor
}

#[test]
fn the_new_psk_is_the_same_by_either_of_two_server_keys() {
    let (client, psk, disk) = (random(), random(), ClientSecret::from_bytes(random()));
    let (first, second) = (World::of(random(), client, psk), World::of(random(), client, psk));
    assert_ne!(first.context, second.context);
    let bound = Some(std::net::IpAddr::from([192, 0, 2, 1]));
    let by_first = succeeded(&first, &disk, None);
    assert_eq!(by_first, succeeded(&second, &disk, None));
    assert_eq!(by_first, succeeded(&second, &disk, bound), "whatever the session says");
    // Another old psk, another old client or another new seed gives another.
    let others = [
        succeeded(&World::of(random(), client, random()), &disk, None),
        succeeded(&World::of(random(), random(), psk), &disk, None),
        succeeded(&first, &ClientSecret::from_bytes(random()), None),
    ];
    for other in others {
        assert_ne!(by_first.psk, other.psk);
    }
}

/// The share is not derived from anything that an invitation's reader, or the server's thief with
/// the psk, has: it changes with the new seed alone.
#[test]
fn the_share_needs_the_new_seed() {
    let world = World::fresh();
    let (disk, other) = (ClientSecret::from_bytes(random()), ClientSecret::from_bytes(random()));
    let new = world.disk_successors(&disk);
    let pretended = world.successors(disk.public(), &other, &disk);
    assert_eq!(danger::share(&new), danger::share(&world.disk_successors(&disk)));
    assert_ne!(danger::share(&new), danger::share(&pretended));
    assert_ne!(new.psk(), pretended.psk());
    let context = Context::new(&world.server_public, &new.public);
    assert_ne!(context, world.context);
}
