//! Stage packets: what opens, and that nothing else does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::net::IpAddr;

use proptest::prelude::*;
use spa_proto::{
    CLIENT_PACKET, ClientPublic, Context, MAX_PACKET, MIN_PACKET, Op, PairKeys, Request,
    ServerSession, Session, SessionError, SessionParts, danger, epoch_of,
};
use support::vectors::session_fields::session_of;
use support::vectors::{self, Vector};
use support::{PORTS, Refused, TS, World, epoch, random, small_order_points};

fn verdict(world: &World, datagram: &[u8], port: u16) -> Result<u8, Refused> {
    world.see(epoch(), &PORTS, datagram, port).map(|seen| seen.stage)
}

/// None, or an address in one of the ways to write one.
fn address() -> impl Strategy<Value = Option<IpAddr>> {
    let texts = ["198.51.100.9", "2001:db8::9", "::ffff:198.51.100.9"];
    prop::option::of(prop::sample::select(texts.map(|text| text.parse().unwrap()).to_vec()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_request_arrives_as_it_was_made(
        ports in prop::collection::vec(1u16.., 1..=8),
        padding in prop::collection::vec(0usize..=896, 0..=8),
        (service, ttl_s, op) in (any::<u16>(), any::<u16>(), prop::sample::select(vec![Op::Open, Op::Renew, Op::Close])),
        (want_ack, all) in any::<(bool, bool)>(),
        bind in address(),
        for_addr in address(),
        now in 0..u64::MAX,
    ) {
        let world = World::fresh();
        let closes = op == Op::Close;
        // A close says where, and only a close means all.
        let all = closes && for_addr.is_none() && (all || bind.is_none());
        let request = Request {
            service, ttl_s, op, want_ack, bind_src: bind, for_addr, all, ports: &ports, padding: &padding,
        };
        let session = Session::new(&world.parts(), &request, now).unwrap();
        prop_assert_eq!(session.packets().len(), ports.len());
        let mut first = None;
        for (stage, (port, packet)) in session.packets().iter().enumerate() {
            prop_assert_eq!(*port, ports[stage]);
            prop_assert_eq!(packet.len(), CLIENT_PACKET + padding.get(stage).copied().unwrap_or(0));
            let seen = world.see(epoch_of(now), &ports, packet, *port).map_err(|step| {
                TestCaseError::fail(format!("stage {stage} refused at {step:?}"))
            })?;
            prop_assert_eq!(usize::from(seen.stage), stage);
            prop_assert_eq!(seen.session.id(), session.id());
            let body = seen.sealed.body;
            prop_assert_eq!((body.ts_ms, body.service, body.ttl_s, body.op), (now, service, ttl_s, op));
            prop_assert_eq!((body.flags.want_ack, body.flags.all), (want_ack, all));
            prop_assert_eq!(body.bind_src, bind.map(|address| address.to_canonical()));
            prop_assert_eq!(body.for_addr, for_addr.map(|address| address.to_canonical()));
            prop_assert!(first.get_or_insert(seen.sealed).same_as(&seen.sealed));
        }
    }
}

#[test]
fn one_to_eight_stages() {
    let world = World::fresh();
    let ports: Vec<u16> = (1..=9).map(|n| n * 1000).collect();
    for n in 0..=9 {
        let request = Request { ports: &ports[..n], ..world.request() };
        let made = Session::new(&world.parts(), &request, TS);
        match n {
            0 | 9 => assert_eq!(made.err(), Some(SessionError::Stages(n))),
            _ => {
                for (stage, (port, packet)) in made.unwrap().packets().iter().enumerate() {
                    let seen = world.see(epoch(), &ports, packet, *port).map(|seen| seen.stage);
                    assert_eq!(seen.map(usize::from), Ok(stage), "of {n}");
                }
            }
        }
    }
}

/// Plain knocks, knocks for another address, enrolments, rotations and security keys: one length.
#[test]
fn one_length_whatever_it_says() {
    let session = |name: &str| {
        let path = vectors::folder().join(format!("session-{name}.txt"));
        let vector = Vector::parse(name, &std::fs::read_to_string(path).unwrap());
        session_of(&vector).unwrap()
    };
    for name in [
        "example",
        "bound-v6",
        "for-addr-v4",
        "close-all",
        "enrol",
        "enrol-security-key",
        "rekey-security-keys",
        "security-key",
    ] {
        assert!(
            session(name).packets().iter().all(|(_, packet)| packet.len() == CLIENT_PACKET),
            "{name}"
        );
    }
}

#[test]
fn padding_ends_at_what_fits() {
    let world = World::fresh();
    let with = |padding: &[usize]| {
        Session::new(&world.parts(), &Request { padding, ..world.request() }, TS).map(|session| {
            let lengths: Vec<usize> =
                session.packets().iter().map(|(_, packet)| packet.len()).collect();
            assert!(
                session
                    .packets()
                    .iter()
                    .all(|(port, packet)| verdict(&world, packet, *port).is_ok())
            );
            lengths
        })
    };
    assert_eq!(with(&[]), Ok(vec![CLIENT_PACKET; 3]));
    assert_eq!(with(&[0, 896, 1]), Ok(vec![CLIENT_PACKET, MAX_PACKET, CLIENT_PACKET + 1]));
    assert_eq!(with(&[0, 0, 897]), Err(SessionError::Padding(897)));
    assert_eq!(with(&[usize::MAX]), Err(SessionError::Padding(usize::MAX)));
}

/// All bits of all bytes of all stages, as a stranger on the path can change them, and with the mac
/// made right, as a holder of the gate keys could.
#[test]
fn every_flipped_bit_is_refused() {
    let world = World::fresh();
    let request = Request { padding: &[0, 40, 3], ..world.request() };
    let session = Session::new(&world.parts(), &request, TS).unwrap();
    for (stage, (port, packet)) in (0u8..).zip(session.packets()) {
        for at in 0..packet.len() {
            for bit in 0..8 {
                let mut bad = packet.clone();
                bad[at] ^= 1 << bit;
                assert!(!world.pair.mac_is_right(&bad), "stage {stage} byte {at} bit {bit}: mac");
                let verdict = verdict(&world, &bad, *port).unwrap_err();
                let allowed = if at < 8 {
                    vec![Refused::Tag, Refused::Mac, Refused::Port]
                } else {
                    vec![Refused::Mac]
                };
                assert!(
                    allowed.contains(&verdict),
                    "stage {stage} byte {at} bit {bit}: {verdict:?}"
                );
            }
            let mut bad = packet.clone();
            bad[at] ^= 0x80;
            if at < 16 {
                continue;
            }
            danger::remac(&world.pair, &mut bad);
            assert!(world.pair.mac_is_right(&bad));
            let verdict = verdict(&world, &bad, *port);
            assert_eq!(verdict, Err(Refused::Aead), "stage {stage} byte {at}");
        }
    }
}

#[test]
fn every_truncation_and_extension_is_refused() {
    let world = World::fresh();
    let request = Request { padding: &[200, 0, 896], ..world.request() };
    let session = Session::new(&world.parts(), &request, TS).unwrap();
    for (stage, (port, packet)) in (0u8..).zip(session.packets()) {
        for len in 0..packet.len() {
            let mut bad = packet[..len].to_vec();
            let wanted = if len < MIN_PACKET { Refused::Length } else { Refused::Mac };
            assert_eq!(verdict(&world, &bad, *port), Err(wanted), "stage {stage} cut to {len}");
            danger::remac(&world.pair, &mut bad);
            assert!(world.open(epoch(), stage, &bad, *port).is_err(), "stage {stage} cut to {len}");
        }
        for more in [1, 2, 16, 896, 897, 2000] {
            let mut bad = packet.clone();
            bad.resize(packet.len() + more, 0);
            let wanted = if bad.len() > MAX_PACKET { Refused::Length } else { Refused::Mac };
            assert_eq!(verdict(&world, &bad, *port), Err(wanted), "stage {stage} and {more}");
            danger::remac(&world.pair, &mut bad);
            let opened = world.open(epoch(), stage, &bad, *port).err();
            let wanted = if bad.len() > MAX_PACKET { Refused::Length } else { Refused::Aead };
            // The appended zeros move the sample, so the unmasked key is another one, rarely a
            // refused one.
            assert_eq!(opened, Some(wanted), "stage {stage} and {more}");
        }
    }
}

#[test]
fn a_packet_opens_only_as_its_own_stage_epoch_and_port() {
    let world = World::fresh();
    let session = world.knock();
    for (stage, (port, packet)) in (0u8..).zip(session.packets()) {
        for as_stage in 0..=255 {
            for at in [epoch() - 1, epoch(), epoch() + 1, 0, u64::MAX] {
                for to in [PORTS[0], PORTS[1], PORTS[2], 0, port.swap_bytes()] {
                    let right = as_stage == stage && at == epoch() && to == *port;
                    let verdict = world.open(at, as_stage, packet, to).map(|_| ());
                    let wanted = if right { Ok(()) } else { Err(Refused::Aead) };
                    assert_eq!(verdict, wanted, "{stage} as {as_stage} in {at} at {to}");
                }
            }
        }
    }
}

#[test]
fn a_packet_behind_another_stages_tag_is_refused() {
    let world = World::fresh();
    let session = world.knock();
    for (i, (_, packet)) in session.packets().iter().enumerate() {
        for (j, (port, other)) in session.packets().iter().enumerate().filter(|(j, _)| i != *j) {
            assert_eq!(
                verdict(&world, packet, *port),
                Err(Refused::Port),
                "{i} to the port of {j}"
            );
            let mut bad = packet.clone();
            bad[..8].copy_from_slice(&other[..8]);
            assert_eq!(
                verdict(&world, &bad, *port),
                Err(Refused::Mac),
                "{i} behind the tag of {j}"
            );
            danger::remac(&world.pair, &mut bad);
            assert_eq!(
                verdict(&world, &bad, *port),
                Err(Refused::Aead),
                "{i} behind the tag of {j}"
            );
        }
    }
}

/// Every key of the pair matters by itself: with the others right, a sender with one wrong key passes no mac,
/// or its seal does not open.
#[test]
fn each_wrong_key_is_refused() {
    let (server, client, psk) = (random(), random(), random());
    let world = World::of(server, client, psk);
    let sealed_by = |server: &World, context: &Context, pair: &PairKeys, behind: &World| {
        let parts = SessionParts {
            server: &server.server_public,
            context,
            tag: &behind.tag,
            pair,
            signer: &server.client,
            hedge: &world.hedge,
        };
        let session = Session::new(&parts, &world.request(), TS).unwrap();
        verdict(&world, &session.packets()[0].1, PORTS[0])
    };
    assert_eq!(sealed_by(&world, &world.context, &world.pair, &world), Ok(0));
    for (name, other) in [
        ("server", World::of(random(), client, psk)),
        ("client", World::of(server, random(), psk)),
        ("psk", World::of(server, client, random())),
    ] {
        let own = sealed_by(&other, &other.context, &other.pair, &other);
        assert_eq!(own, Err(Refused::Tag), "{name}: its own tag");
        let behind_the_tag = sealed_by(&other, &other.context, &other.pair, &world);
        assert_eq!(behind_the_tag, Err(Refused::Mac), "{name}: the true tag");
        let only_pair = sealed_by(&world, &world.context, &other.pair, &world);
        assert_eq!(only_pair, Err(Refused::Mac), "{name}: only the pair's keys are wrong");
        if name != "psk" {
            let only_context = sealed_by(&world, &other.context, &world.pair, &world);
            assert_eq!(only_context, Err(Refused::Aead), "{name}: only the context is wrong");
        }
    }
    let other = World::of(random(), client, psk);
    let elsewhere = sealed_by(&other, &world.context, &world.pair, &world);
    assert_eq!(elsewhere, Err(Refused::Aead), "only the ephemeral agreement is another's");
    let thief = World::of(server, random(), psk);
    let parts = SessionParts { signer: &thief.client, ..world.parts() };
    let session = Session::new(&parts, &world.request(), TS).unwrap();
    let stolen = verdict(&world, &session.packets()[0].1, PORTS[0]);
    assert_eq!(stolen, Err(Refused::Signature), "psk and X25519 stolen, signing key not");
}

#[test]
fn small_order_points_are_refused_everywhere() {
    let world = World::fresh();
    for point in small_order_points() {
        let server = spa_proto::ServerPublic(point);
        assert!(PairKeys::of_client(&world.psk, &world.client, &server, &world.context).is_none());
        let client = ClientPublic { dh: point, ..world.client_public };
        assert!(PairKeys::of_server(&world.psk, &world.server, &client, &world.context).is_none());
        assert!(ServerSession::agree(&world.server, &world.pair, &world.context, &point).is_none());
        let parts = SessionParts { server: &server, ..world.parts() };
        assert_eq!(Session::new(&parts, &world.request(), TS).err(), Some(SessionError::ServerKey));
    }
}

/// Made once: every look at a session's packets gives the same bytes, and no two sessions share any
/// 8 of them but their tags.
#[test]
fn resends_are_identical_and_sessions_are_not() {
    let world = World::fresh();
    let sessions: Vec<Session> = (0..50).map(|_| world.knock()).collect();
    for session in &sessions {
        assert_eq!(session.packets(), session.packets());
    }
    let mut seen = std::collections::HashSet::new();
    for session in &sessions {
        for (_, packet) in session.packets() {
            for piece in packet[8..].chunks_exact(8) {
                assert!(seen.insert(piece.to_vec()), "repeated");
            }
        }
    }
}

/// No byte position is constant or lopsided: over 2048 packets each value of each position comes 8
/// times on average, and chi-square with 255 degrees of freedom stays below 400 (a chance of 1e-8 a
/// position).
#[test]
fn every_byte_looks_random() {
    const PACKETS: usize = 2048;
    let mut counts = vec![[0u32; 256]; CLIENT_PACKET];
    // Tags repeat within a client and minute, by design: every packet here has a minute of its own.
    for client in 0..PACKETS / 64 {
        let world = World::fresh();
        for minute in 0..64 {
            let now = TS + (client * 64 + minute) as u64 * 60_000;
            let request = Request { ports: &PORTS[..1], ..world.request() };
            let session = Session::new(&world.parts(), &request, now).unwrap();
            for (at, byte) in session.packets()[0].1.iter().enumerate() {
                counts[at][usize::from(*byte)] += 1;
            }
        }
    }
    let expected = PACKETS as f64 / 256.0;
    for (at, values) in counts.iter().enumerate() {
        let chi: f64 = values.iter().map(|n| (f64::from(*n) - expected).powi(2) / expected).sum();
        assert!((100.0..400.0).contains(&chi), "byte {at}: chi-square {chi}");
    }
}
