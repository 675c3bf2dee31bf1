//! Stage packets: what opens, and that nothing else does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::net::IpAddr;

use proptest::prelude::*;
use spa_proto::{
    CLIENT_PACKET, ClientPublic, Context, GateKeys, MAX_PACKET, MIN_PACKET, Op, PairKey, Request,
    ServerSession, Session, SessionError, SessionParts, danger, epoch_of,
};
use support::sessions_ext::session_of;
use support::vectors::{self, Vector};
use support::{PORTS, Refused, TS, World, counted, epoch, localhost, random, small_order_points};

fn verdict(world: &World, datagram: &[u8], port: u16) -> Result<u8, Refused> {
    world.see(epoch(), &PORTS, datagram, port, localhost()).map(|seen| seen.stage)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_request_arrives_as_it_was_made(
        ports in prop::collection::vec(1u16.., 1..=8),
        padding in prop::collection::vec(0usize..=944, 0..=8),
        (service, ttl_s, op) in (any::<u16>(), any::<u16>(), prop::sample::select(vec![Op::Open, Op::Renew, Op::Close])),
        want_ack: bool,
        bind: Option<IpAddr>,
        source: IpAddr,
        for_addr in prop::sample::select(vec![None, Some("198.51.100.9"), Some("2001:db8::9"), Some("::ffff:198.51.100.9")]),
        now in 0..u64::MAX,
    ) {
        let world = World::fresh();
        let for_addr: Option<IpAddr> = for_addr.map(|text| text.parse().unwrap());
        let request =
            Request { service, ttl_s, op, want_ack, bind_src: bind, for_addr, ports: &ports, padding: &padding };
        let session = Session::new(&world.parts(), &request, now).unwrap();
        prop_assert_eq!(session.packets().len(), ports.len());
        let mut first = None;
        for (stage, (port, packet)) in session.packets().iter().enumerate() {
            prop_assert_eq!(*port, ports[stage]);
            prop_assert_eq!(packet.len(), CLIENT_PACKET + padding.get(stage).copied().unwrap_or(0));
            let seen = world.see(epoch_of(now), &ports, packet, *port, bind.unwrap_or(source)).map_err(|step| {
                TestCaseError::fail(format!("stage {stage} refused at {step:?}"))
            })?;
            prop_assert_eq!(usize::from(seen.stage), stage);
            prop_assert_eq!(seen.session.id(), session.id());
            let body = seen.sealed.body;
            prop_assert_eq!((body.ts_ms, body.service, body.ttl_s, body.op), (now, service, ttl_s, op));
            prop_assert_eq!((body.flags.want_ack, body.flags.bind_src), (want_ack, bind.is_some()));
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
                    let seen = world
                        .see(epoch(), &ports, packet, *port, localhost())
                        .map(|seen| seen.stage);
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
        "for-addr-v4",
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
    assert_eq!(with(&[0, 944, 1]), Ok(vec![CLIENT_PACKET, MAX_PACKET, CLIENT_PACKET + 1]));
    assert_eq!(with(&[0, 0, 945]), Err(SessionError::Padding(945)));
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
                assert!(!world.gate.mac_is_right(&bad), "stage {stage} byte {at} bit {bit}: mac");
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
            danger::remac(&world.gate, &mut bad);
            assert!(world.gate.mac_is_right(&bad));
            let verdict = verdict(&world, &bad, *port);
            assert_eq!(verdict, Err(Refused::Aead), "stage {stage} byte {at}");
        }
    }
}

#[test]
fn every_truncation_and_extension_is_refused() {
    let world = World::fresh();
    let request = Request { padding: &[200, 0, 944], ..world.request() };
    let session = Session::new(&world.parts(), &request, TS).unwrap();
    for (stage, (port, packet)) in (0u8..).zip(session.packets()) {
        for len in 0..packet.len() {
            let mut bad = packet[..len].to_vec();
            let wanted = if len < MIN_PACKET { Refused::Length } else { Refused::Mac };
            assert_eq!(verdict(&world, &bad, *port), Err(wanted), "stage {stage} cut to {len}");
            danger::remac(&world.gate, &mut bad);
            assert!(world.open(epoch(), stage, &bad, *port).is_err(), "stage {stage} cut to {len}");
        }
        for more in [1, 2, 16, 944, 945, 2000] {
            let mut bad = packet.clone();
            bad.resize(packet.len() + more, 0);
            let wanted = if bad.len() > MAX_PACKET { Refused::Length } else { Refused::Mac };
            assert_eq!(verdict(&world, &bad, *port), Err(wanted), "stage {stage} and {more}");
            danger::remac(&world.gate, &mut bad);
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
            danger::remac(&world.gate, &mut bad);
            assert_eq!(
                verdict(&world, &bad, *port),
                Err(Refused::Aead),
                "{i} behind the tag of {j}"
            );
        }
    }
}

/// Every key of the pair matters by itself: with the others right, and the tag and mac made by the
/// true gate, the seal of a sender with one wrong key does not open.
#[test]
fn each_wrong_key_is_refused() {
    let (server, client, psk) = (random(), random(), random());
    let world = World::of(server, client, psk);
    let sealed_by = |other: &World, context: &Context, pair: &PairKey, gate: &GateKeys| {
        let parts = SessionParts {
            server: &other.server_public,
            context,
            gate,
            pair,
            signer: &other.client,
        };
        let session = Session::new(&parts, &world.request(), TS).unwrap();
        verdict(&world, &session.packets()[0].1, PORTS[0])
    };
    assert_eq!(sealed_by(&world, &world.context, &world.pair, &world.gate), Ok(0));
    for (name, other) in [
        ("server", World::of(random(), client, psk)),
        ("client", World::of(server, random(), psk)),
        ("psk", World::of(server, client, random())),
    ] {
        let own = sealed_by(&other, &other.context, &other.pair, &other.gate);
        assert_eq!(own, Err(Refused::Tag), "{name}: its own gate");
        let behind_the_gate = sealed_by(&other, &other.context, &other.pair, &world.gate);
        assert_eq!(behind_the_gate, Err(Refused::Aead), "{name}: the true gate");
        let only_pair = sealed_by(&world, &world.context, &other.pair, &world.gate);
        assert_eq!(only_pair, Err(Refused::Aead), "{name}: only the pair key is wrong");
        if name != "psk" {
            let only_context = sealed_by(&world, &other.context, &world.pair, &world.gate);
            assert_eq!(only_context, Err(Refused::Aead), "{name}: only the context is wrong");
        }
    }
    let other = World::of(random(), client, psk);
    let to_another = sealed_by(&other, &world.context, &world.pair, &world.gate);
    assert_eq!(
        to_another,
        Err(Refused::Aead),
        "only the ephemeral agreement is with another server"
    );
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
        assert!(PairKey::of_client(&world.psk, &world.client, &server, &world.context).is_none());
        let client = ClientPublic { dh: point, ..world.client_public };
        assert!(PairKey::of_server(&world.psk, &world.server, &client, &world.context).is_none());
        assert!(ServerSession::agree(&world.server, &world.pair, &world.context, &point).is_none());
        let parts = SessionParts { server: &server, ..world.parts() };
        assert_eq!(Session::new(&parts, &world.request(), TS).err(), Some(SessionError::ServerKey));
    }
}

#[test]
fn a_bound_request_works_from_its_source_only() {
    let world = World::fresh();
    let sources: Vec<IpAddr> =
        ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "::192.0.2.1", "::", "0.0.0.0"]
            .map(|text| text.parse().unwrap())
            .to_vec();
    for bound in &sources {
        let request = Request { bind_src: Some(*bound), ..world.request() };
        let session = Session::new(&world.parts(), &request, TS).unwrap();
        for seen_from in &sources {
            let (port, packet) = &session.packets()[0];
            let verdict =
                world.see(epoch(), &PORTS, packet, *port, *seen_from).map(|seen| seen.stage);
            let wanted = if bound == seen_from { Ok(0) } else { Err(Refused::Signature) };
            assert_eq!(verdict, wanted, "bound to {bound}, seen from {seen_from}");
        }
    }
    let unbound = world.knock();
    for source in sources {
        let (port, packet) = &unbound.packets()[0];
        assert!(world.see(epoch(), &PORTS, packet, *port, source).is_ok());
    }
}

/// Each single bit of the body, changed after signing by somebody who can seal: the signature says
/// no where the decoding has not already.
#[test]
fn the_signature_covers_every_bit_of_the_body() {
    let world = World::fresh();
    let body = spa_proto::Body::decode(&support::unhex("0000019b76dad8399ed2070800010000"), &[])
        .unwrap()
        .encode();
    assert_eq!(epoch_of(u64::from_be_bytes(body[..8].try_into().unwrap())), epoch());
    let e = random();
    let good = world.signed_plaintext(e, body, [0; 16], &[]);
    assert_eq!(verdict(&world, &world.crafted(e, epoch(), 0, PORTS[0], &good), PORTS[0]), Ok(0));
    let mut by_signature = 0;
    for bit in 0..128 {
        let mut text = good.clone();
        text[bit / 8] ^= 1 << (bit % 8);
        let verdict =
            verdict(&world, &world.crafted(e, epoch(), 0, PORTS[0], &text), PORTS[0]).unwrap_err();
        assert!(verdict >= Refused::Op, "bit {bit}: {verdict:?}");
        by_signature += u32::from(verdict == Refused::Signature);
    }
    // ts within its minute, service, ttl, the two other ops that one bit reaches, two flags.
    assert!(by_signature >= 12 + 32 + 2 + 2, "{by_signature}");
}

#[test]
fn a_later_packet_must_say_what_the_first_said() {
    let world = World::fresh();
    let e = counted(9);
    let text = world.signed_plaintext(e, spa_proto::Body::encode(&seen_body(&world)), [0; 16], &[]);
    let open = |text: &[u8], stage: u8| {
        let packet = world.crafted(e, epoch(), stage, 7, text);
        world.open(epoch(), stage, &packet, 7).unwrap().1
    };
    let first = open(&text, 0);
    assert!(first.same_as(&open(&text, 1)));
    for at in (8..12).chain(16..80) {
        let mut other = text.clone();
        other[at] ^= 1;
        assert!(!first.same_as(&open(&other, 1)), "byte {at}");
    }
}

fn seen_body(world: &World) -> spa_proto::Body {
    let session = world.knock();
    world
        .see(epoch(), &PORTS, &session.packets()[0].1, PORTS[0], localhost())
        .map(|s| s.sealed.body)
        .ok()
        .unwrap()
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
