//! ML-KEM-768 where a psk is made: against NIST's vectors, and both sides of every session.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;

use ml_kem::array::{Array, ArraySize};
use ml_kem::kem::{Decapsulate, KeyExport};
use ml_kem::ml_kem_768::{DecapsulationKey, EncapsulationKey};
use spa_proto::{
    ClientSecret, KemPublic, KemRandom, NewKeysError, Op, OpenError, Request, ServerSession,
    Session, SessionError, Successor, danger,
};
use support::vectors::acks::{example_ack, example_keys};
use support::{PORTS, TS, World, counted, epoch, hex, random, unhex};

fn array<N: ArraySize>(text: &str) -> Array<u8, N> {
    Array::try_from(&unhex(text)[..]).unwrap()
}

/// The library against NIST's ACVP vectors: key generation, encapsulation, decapsulation also of
/// changed ciphertexts.
#[test]
#[allow(deprecated, reason = "NIST's decapsulation vectors have expanded keys")]
fn acvp() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let text = fs::read_to_string(folder.join("acvp-ml-kem-768.txt")).unwrap();
    let mut counts = [0; 3];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(' ').collect();
        match fields[..] {
            ["keygen", z, d, ek, dk] => {
                counts[0] += 1;
                let key = DecapsulationKey::from_seed(array(&format!("{d}{z}")));
                assert_eq!(hex(key.encapsulation_key().to_bytes()), ek);
                use ml_kem::ExpandedKeyEncoding;
                assert_eq!(hex(key.to_expanded_bytes()), dk);
            }
            ["encaps", ek, m, c, k] => {
                counts[1] += 1;
                let key = EncapsulationKey::new(&array(ek)).unwrap();
                let (ciphertext, shared) = key.encapsulate_deterministic(&array(m));
                assert_eq!((hex(ciphertext), hex(shared)), (c.into(), k.into()));
            }
            ["decaps", dk, c, k] => {
                counts[2] += 1;
                let key = DecapsulationKey::from_expanded(&array(dk)).unwrap();
                assert_eq!(hex(key.decapsulate(&array(c))), k);
            }
            _ => panic!("{line}"),
        }
    }
    assert_eq!(counts, [3, 3, 10]);
}

/// A session over so many stages, as a server sees it to its end.
fn carried_out(
    world: &World,
    disk: &ClientSecret,
    stages: usize,
    random: &KemRandom,
) -> (Session, ServerSession, Successor, Vec<u8>) {
    let new = world.disk_successors(disk);
    let ports: Vec<u16> = (1..=8).map(|n| n * 1000).collect();
    let op = Op::Rekey(new.public);
    let request = Request { op, service: 0, ttl_s: 0, ports: &ports[..stages], ..world.request() };
    let session = Session::with_kem(&world.parts(), &request, &new, TS).unwrap();
    let pair = world.server_pair().unwrap();
    let big_e = pair.ephemeral(&session.packets()[0].1).unwrap();
    let server = ServerSession::agree(&world.server, &pair, &world.context, &big_e).unwrap();
    let mut fragments = Vec::new();
    let mut last = None;
    for (stage, (port, packet)) in (0u8..).zip(session.packets()) {
        assert_eq!(packet.len(), 1232);
        let n = u8::try_from(stages).unwrap();
        let (sealed, fragment) = server.open_with_kem(packet, epoch(), stage, *port, n).unwrap();
        assert!(server.verify(&world.client_public, &sealed));
        fragments.push(fragment.unwrap());
        last = Some(sealed);
        // A server that takes no such key, or of another number of stages, refuses it.
        let plain = server.open(packet, epoch(), stage, *port);
        assert!(matches!(plain, Err(OpenError::Body(spa_proto::BodyError::Flags(0x41)))));
        assert!(server.open_with_kem(packet, epoch(), stage, *port, 1).is_err());
    }
    let ek = KemPublic::join(&fragments).unwrap();
    assert_eq!(ek, danger::kem_public(&new));
    assert_eq!(KemPublic::join(&fragments[1..]), None);
    assert_eq!(KemPublic::join(&[]), None);
    let (sealed, old) = (last.unwrap(), &world.client_public);
    let plain = server.successor(&world.server, old, &world.psk, &sealed);
    assert_eq!(plain, Err(NewKeysError::Kem), "the key may not be left out");
    let made = server.successor_by_kem(&world.server, old, &world.psk, &sealed, &ek, random);
    let (successor, ciphertext) = made.unwrap();
    let answer = server.seal_answer(&example_ack(), None, Some(&ciphertext));
    (session, server, successor, answer)
}

#[test]
fn both_sides_come_to_one_psk_in_two_to_eight_stages_by_either_server_key() {
    let (client, psk, disk) = (random(), random(), ClientSecret::from_bytes(random()));
    let (first, second) = (World::of(random(), client, psk), World::of(random(), client, psk));
    let m = KemRandom::from_bytes(random());
    let mut psks = Vec::new();
    for world in [&first, &second] {
        for stages in 2..=8 {
            let (session, _, successor, answer) = carried_out(world, &disk, stages, &m);
            assert_eq!(answer.len(), 1148);
            let opened = session.open_answer(&answer).unwrap();
            assert_eq!((opened.ack, opened.keys), (example_ack(), None));
            let ciphertext = opened.ciphertext.unwrap();
            let new = world.disk_successors(&disk);
            assert_eq!(new.psk_by_kem(&ciphertext), successor.psk);
            assert_ne!(new.psk(), successor.psk, "without the ciphertext it is another");
            psks.push(successor.psk);
        }
    }
    assert!(psks.iter().all(|psk| *psk == psks[0]));
    let (_, _, other, _) = carried_out(&first, &disk, 3, &KemRandom::from_bytes(random()));
    assert_ne!(other.psk, psks[0], "another m");
}

#[test]
fn a_changed_ciphertext_gives_another_psk_and_a_changed_answer_none() {
    let world = World::fresh();
    let disk = ClientSecret::from_bytes(random());
    let m = KemRandom::from_bytes(random());
    let (session, server, successor, answer) = carried_out(&world, &disk, 3, &m);
    let new = world.disk_successors(&disk);
    for at in [0, 12, 43, 44, 600, 1131, 1132, 1147] {
        let mut bad = answer.clone();
        bad[at] ^= 1;
        assert_eq!(session.open_answer(&bad), None, "byte {at}");
    }
    let told = session.open_answer(&answer).unwrap().ciphertext.unwrap();
    let plain: Vec<u8> = [
        &{
            let mut head = danger::ack_plaintext(&example_ack(), false);
            head[31] |= 4;
            head
        }[..],
        told.bytes(),
    ]
    .concat();
    assert_eq!(danger::seal_ack_plaintext(&server, &plain), answer);
    for at in [32, 700, plain.len() - 1] {
        let mut changed = plain.clone();
        changed[at] ^= 1;
        let forged = danger::seal_ack_plaintext(&server, &changed);
        let opened = session.open_answer(&forged).unwrap().ciphertext.unwrap();
        assert_ne!(new.psk_by_kem(&opened), successor.psk, "byte {at}");
    }
}

/// The bits say what follows, and nothing else may follow.
#[test]
fn an_answers_parts_are_those_that_its_flags_name() {
    let world = World::fresh();
    let disk = ClientSecret::from_bytes(random());
    let m = KemRandom::from_bytes(random());
    let (session, server, _, answer) = carried_out(&world, &disk, 2, &m);
    let told = session.open_answer(&answer).unwrap().ciphertext.unwrap();
    let keys = example_keys();
    let all = server.seal_answer(&example_ack(), Some(&keys), Some(&told));
    assert_eq!(all.len(), 1212);
    let opened = session.open_answer(&all).unwrap();
    assert_eq!((opened.keys, opened.ciphertext), (Some(keys.clone()), Some(told.clone())));
    assert_eq!(session.open_ack(&all), Some((example_ack(), Some(keys))));
    let head = danger::ack_plaintext(&example_ack(), false);
    for (flags, more) in [
        (1u8, 1088usize),
        (1, 1152),
        (3, 1088),
        (3, 1152),
        (5, 0),
        (5, 64),
        (5, 1087),
        (5, 1089),
        (5, 1152),
        (7, 0),
        (7, 64),
        (7, 1088),
        (7, 1151),
        (7, 1153),
    ] {
        let mut plain = [&head[..], &vec![1; more]].concat();
        plain[31] = flags;
        let sealed = danger::seal_ack_plaintext(&server, &plain);
        assert_eq!(session.open_answer(&sealed), None, "flags {flags} and {more} bytes");
    }
}

#[test]
fn a_session_that_could_not_end_is_not_made() {
    let world = World::fresh();
    let disk = ClientSecret::from_bytes(counted(0xb0));
    let new = world.disk_successors(&disk);
    let op = Op::Rekey(new.public);
    let bare = Request { op, service: 0, ttl_s: 0, ..world.request() };
    let make = |request: &Request<'_>| Session::with_kem(&world.parts(), request, &new, TS).err();
    assert_eq!(make(&bare), None);
    assert_eq!(make(&Request { ports: &PORTS[..1], ..bare.clone() }), Some(SessionError::Kem));
    assert_eq!(make(&Request { want_ack: false, ..bare.clone() }), Some(SessionError::Kem));
    assert_eq!(make(&world.request()), Some(SessionError::NewKeys));
    assert_eq!(make(&Request { service: 1, ..bare }), Some(SessionError::NewKeys));
}
