//! Floods: of strangers' packets, of copies, of packets made with stolen keys.

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use spa_proto::{ClientSecret, Reason, epoch_of};
use spa_server::engine::EventKind;

use crate::actors::{Ask, addr, elsewhere, home4, home6};
use crate::thief::Thief;
use crate::world::{SECOND, Setup, World, ms};

fn random() -> TestRng {
    TestRng::from_seed(RngAlgorithm::ChaCha, &[5; 32])
}

#[test]
fn strangers_cause_no_action_at_all() {
    let mut world = World::new(Setup::default());
    let knock = world.knock(0, &Ask::default());
    let mut random = random();
    let mut count = 0;
    for length in (0..=1500).step_by(7) {
        let mut bytes = vec![0; length];
        random.fill_bytes(&mut bytes);
        for (i, source) in [home4(0), home6(0), elsewhere()].into_iter().enumerate() {
            world.datagram(&bytes, source, 7001 + u16::try_from(i).unwrap());
            count += 1;
        }
    }
    // Every byte of a real packet flipped, cut, extended.
    for stage in 0..3 {
        let (port, good) = knock.packet(stage);
        for at in 0..good.len() {
            let mut bad = good.to_vec();
            bad[at] ^= 1 << (at % 8);
            world.datagram(&bad, home4(0), port);
            world.datagram(&good[..at], home4(0), port);
            count += 2;
        }
        for more in 1..40 {
            world.datagram(&[good, &vec![0; more]].concat(), home4(0), port);
            count += 1;
        }
    }
    assert_eq!(world.actions, 0);
    let counters = world.engine.counters();
    assert_eq!(counters.datagrams, count);
    assert_eq!(counters.strangers(), count);
    world.whole(&knock, home4(0));
    assert!(world.has_opened(&knock));
}

#[test]
fn replayed_packets_do_not_empty_the_clients_budget() {
    let mut world = World::new(Setup::default());
    let mut seen = vec![world.go(0, &Ask::default(), home4(0))];
    let pending = world.knock(0, &Ask::default());
    world.stage(&pending, 0, home4(0));
    let stale = world.knock_at(0, &Ask::default(), world.now.unix_ms - 100_000);
    let denied = world.knock(0, &Ask::service("other"));
    let bound = world.knock(0, &Ask::bound(home4(0)));
    world.whole(&stale, home4(0));
    world.whole(&denied, home4(0));
    seen.extend([pending, stale, denied, bound]);
    world.logged();
    let flood = |world: &mut World| {
        for i in 0..3000u32 {
            let source = addr(&format!("198.51.100.{}:9", i % 250));
            for knock in &seen {
                world.stage(knock, (i % 2) as usize, source);
            }
        }
    };
    flood(&mut world);
    let fresh = world.go(0, &Ask::default(), home4(0));
    assert!(world.has_opened(&fresh));
    // Nothing to say of what is not over, but that an unbound session has a second source.
    assert_eq!(
        world.logged(),
        [(EventKind::OtherSource, Reason::None), (EventKind::Renewed, Reason::None)]
    );
    assert_eq!(world.engine.counters().over_budget, 0);
    // Later: one line per session and kind, whatever the flood.
    world.pass(SECOND * 31);
    flood(&mut world);
    let late = world.go(0, &Ask::default(), home4(0));
    assert!(world.has_opened(&late));
    let log = world.logged();
    let count = |kind| log.iter().filter(|(k, _)| *k == kind).count();
    assert_eq!((count(EventKind::Replay), count(EventKind::TimedOut)), (5, 2));
    assert_eq!(log.len(), 5 + 2 + 1);
}

/// Whoever signs with the wrong key (a stolen psk and pair key) is refused, logged once per
/// datagram, and pays for each once: copies of it are known by their mac.
#[test]
fn wrong_signature() {
    let mut world = World::new(Setup::default());
    let wrong = ClientSecret::from_bytes([9; 32]);
    let knock = world.actors[0].knock_signed(
        &Ask::default(),
        &[7001, 7002, 7003],
        world.now.unix_ms,
        &wrong,
    );
    for _ in 0..2000 {
        world.stage(&knock, 0, elsewhere());
        world.stage(&knock, 2, home4(0));
    }
    assert!(world.opens.is_empty() && world.acks.is_empty());
    assert_eq!(world.logged(), [(EventKind::BadSignature, Reason::None); 2]);
    let counters = world.engine.counters();
    assert_eq!((counters.bad_signature, counters.refused_again), (2, 4000 - 2));
    assert_eq!(counters.over_budget, 0);
    let fresh = world.go(0, &Ask::default(), home4(0));
    assert!(world.has_opened(&fresh));
}

#[test]
fn small_order_points_and_rubbish_from_stolen_keys() {
    let mut world = World::new(Setup::default());
    let thief = Thief::of_psk_and_dh(&world.actors[0]);
    let epoch = epoch_of(world.now.unix_ms);
    // The points of small order on Curve25519, RFC 7748 section 6.1 and its twins.
    let mut one = [0; 32];
    one[0] = 1;
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    let mut order8 = [0; 32];
    for (i, byte) in order8.iter_mut().enumerate() {
        let hex = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800";
        *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap();
    }
    for point in [[0; 32], one, p, order8] {
        world.datagram(&thief.packet(epoch, 0, point, [3; 96]), home4(0), 7001);
    }
    assert_eq!(world.engine.counters().not_authentic, 4);
    // Another one's public key as ephemeral key, rubbish inside; each stage.
    for stage in 0..3 {
        let packet = thief.packet(epoch, stage, world.actors[1].public.dh, [stage; 96]);
        world.datagram(&packet, home4(0), 7001 + u16::from(stage));
    }
    assert_eq!(world.engine.counters().not_authentic, 7);
    assert_eq!(world.actions, 0, "the gate is not yet authentic: no line, no answer");
    let fresh = world.go(0, &Ask::default(), home4(0));
    assert!(world.has_opened(&fresh));
}

/// Stolen keys can empty one client's budget for a while, nobody else's.
#[test]
fn stolen_keys_hurt_its_own_client_only() {
    let mut world = World::new(Setup::default());
    let thief = Thief::of_psk_and_dh(&world.actors[0]);
    let epoch = epoch_of(world.now.unix_ms);
    let mut random = random();
    for _ in 0..600 {
        let mut point = [0; 32];
        random.fill_bytes(&mut point);
        world.datagram(&thief.packet(epoch, 0, point, [1; 96]), elsewhere(), 7001);
    }
    let counters = world.engine.counters();
    assert_eq!((counters.not_authentic, counters.over_budget), (128, 600 - 128));
    let other = world.go(1, &Ask::default(), home4(1));
    assert!(world.has_opened(&other));
    world.pass(ms(100));
    let own = world.go(0, &Ask::default(), home4(0));
    assert!(world.has_opened(&own));
}

/// An enrolled client that is not nice: thousands of sessions begun, none finished.
#[test]
fn sessions_in_progress_are_bounded_by_the_budget() {
    let mut world = World::new(Setup::default());
    for _ in 0..400 {
        let knock = world.knock(0, &Ask::default());
        world.stage(&knock, 0, home4(0));
    }
    assert_eq!(world.engine.counters().over_budget, 400 - 128);
    let other = world.go(1, &Ask::default(), home4(1));
    assert!(world.has_opened(&other));
}

/// A disk cannot be filled with a stolen pair key either: the lines are bounded.
#[test]
fn wrong_signatures_without_end() {
    let mut world = World::new(Setup::stages(1));
    let wrong = ClientSecret::from_bytes([9; 32]);
    for _ in 0..60 {
        for _ in 0..20 {
            let knock =
                world.actors[0].knock_signed(&Ask::default(), &[7001], world.now.unix_ms, &wrong);
            world.whole(&knock, elsewhere());
        }
        world.pass(SECOND);
    }
    assert!(world.opens.is_empty());
    let lines = world.logged().len();
    assert!((1..=40).contains(&lines), "{lines} lines in a minute");
}
