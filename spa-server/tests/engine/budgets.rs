//! Attacks P2, P3 and P4: nobody who copies a client's packets, forges some or holds stolen keys
//! keeps it out.

use std::net::SocketAddr;

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use spa_proto::{ClientSecret, Status, epoch_of};

use crate::actors::{Ask, addr, home4, home6};
use crate::thief::Thief;
use crate::world::{SECOND, Setup, World, ms};

/// Many addresses that the client never had, in the family of its home.
fn foreign(home: SocketAddr, i: u32) -> SocketAddr {
    if home.is_ipv4() {
        addr(&format!("198.51.{}.{}:9", 100 + i / 200 % 100, i % 200))
    } else {
        addr(&format!("[2001:db8:bad:{:x}::{:x}]:9", i / 200 % 100, i % 200))
    }
}

fn homes() -> [SocketAddr; 2] {
    [home4(0), home6(0)]
}

/// 5 000 copies of the first stage from elsewhere, ahead of the client's packets and between them.
#[test]
fn p2_copies_of_the_first_stage_hold_nobody_up() {
    for home in homes() {
        for ask in [Ask::default(), Ask::bound(home)] {
            let mut world = World::new(Setup::default());
            let knock = world.knock(0, &ask);
            let copies = |world: &mut World| {
                for i in 0..5_000 {
                    world.stage(&knock, 0, foreign(home, i));
                }
            };
            copies(&mut world);
            for stage in 0..3 {
                world.stage(&knock, stage, home);
                copies(&mut world);
            }
            assert!(world.has_opened(&knock));
            assert_eq!(world.openings().len(), 1);
            assert_eq!(world.openings()[0].2, home.ip());
            let counters = world.engine.counters();
            assert_eq!((counters.over_budget, counters.bad_signature), (0, 0));
            // Nor the next knock, nor by lines without end.
            let next = world.go(0, &ask, home);
            assert!(world.has_opened(&next));
            assert!(world.log.len() <= 8, "{} lines", world.log.len());
        }
    }
}

/// The same for many knocks in a row, each copied by somebody faster, as fast as budgets allow.
#[test]
fn p2_every_knock_of_a_minute_gets_in() {
    for home in homes() {
        for ask in [Ask::default(), Ask::bound(home)] {
            let mut world = World::new(Setup::default());
            for _ in 0..60 {
                let knock = world.knock(0, &ask);
                for i in 0..50 {
                    world.whole(&knock, foreign(home, i));
                }
                world.acks.clear();
                // Whoever was first has it for a moment; who is at home keeps it.
                world.whole(&knock, home);
                let last = *world.acks_to(&knock, home).last().unwrap();
                assert_eq!((last.status, last.provisional), (Status::Granted, false));
                assert_eq!(world.firewall.live.len(), 1);
                world.pass(SECOND);
            }
        }
    }
}

/// Garbage with right tags, made with a stolen psk: no mac, so no budget, line or action; the pair's
/// one static Diffie-Hellman is the unit test's in `engine/cache.rs`.
#[test]
fn p3_a_thief_of_the_psk_alone_spends_nothing() {
    for home in homes() {
        let mut world = World::new(Setup::default());
        let thief = Thief::of_psk(&world.actors[0]);
        let epoch = epoch_of(world.now.unix_ms);
        let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[6; 32]);
        for i in 0..3_000u32 {
            let mut point = [0; 32];
            random.fill_bytes(&mut point);
            let stage = u8::try_from(i % 3).unwrap();
            let packet = thief.packet(epoch, stage, point, [1; 96]);
            let source = if i % 2 == 0 { home } else { foreign(home, i) };
            world.datagram(&packet, source, 7001 + u16::from(stage));
        }
        let counters = world.engine.counters();
        assert_eq!(counters.wrong_mac, 3_000);
        assert_eq!((counters.not_authentic, counters.over_budget), (0, 0));
        assert_eq!(world.actions, 0);
        // All of the 128 that may come at once are left.
        for _ in 0..128 {
            let knock = world.go(0, &Ask::default(), home);
            assert!(world.has_opened(&knock));
        }
    }
}

/// With the X25519 secret as well, from elsewhere at any rate: the client is heard from where it was
/// let in lately, and from its neighbourhood.
#[test]
fn p3_a_thief_of_psk_and_dh_leaves_the_home_bucket() {
    for (home, near) in [(home4(0), home4(90)), (home6(0), addr("[2001:db8:0:9::9]:9"))] {
        for first in [Ask::default(), Ask::bound(home)] {
            let mut world = World::new(Setup::default());
            let knock = world.go(0, &first, home);
            assert!(world.has_opened(&knock));
            let thief = Thief::of_psk_and_dh(&world.actors[0]);
            let wrong = ClientSecret::from_bytes([9; 32]);
            let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
            for second in 0..30u32 {
                let (epoch, ports) = (epoch_of(world.now.unix_ms), [7001, 7002, 7003]);
                for i in 0..500 {
                    let mut point = [0; 32];
                    random.fill_bytes(&mut point);
                    let packet = thief.packet(epoch, 0, point, [1; 96]);
                    world.datagram(&packet, foreign(home, 500 * second + i), 7001);
                }
                // Or with everything right but the signature.
                let actor = &world.actors[0];
                let forged = actor.knock_signed(&Ask::default(), &ports, world.now.unix_ms, &wrong);
                world.stage(&forged, 0, foreign(home, second));
                for source in [home, near] {
                    let knock = world.go(0, &Ask::default(), source);
                    assert!(world.has_opened(&knock), "second {second}");
                }
                world.pass(SECOND);
            }
            assert!(world.engine.counters().over_budget > 10_000, "the thief is held up");
        }
    }
}

/// Home is forgotten after a day, and the ninth place after eight others.
#[test]
fn p3_home_is_where_the_client_was_lately() {
    for home in homes() {
        for forget in [false, true] {
            let mut world = World::new(Setup::default());
            world.go(0, &Ask::bound(home), home);
            let eight_others = [forget; 8].iter().filter(|forget| **forget).count();
            for i in 0..eight_others {
                let there = addr(&format!("203.0.{i}.1:9"));
                let knock = world.go(0, &Ask::bound(there), there);
                assert!(world.has_opened(&knock));
            }
            world.pass(SECOND * 20);
            let drained = |world: &mut World| {
                let thief = Thief::of_psk_and_dh(&world.actors[0]);
                for i in 0..300 {
                    let point = [u8::try_from(i % 250).unwrap(); 32];
                    let rubbish = [u8::try_from(i / 250).unwrap(); 96];
                    let epoch = epoch_of(world.now.unix_ms);
                    world.datagram(&thief.packet(epoch, 0, point, rubbish), foreign(home, i), 7001);
                }
                let knock = world.go(0, &Ask::bound(home), home);
                world.has_opened(&knock)
            };
            assert_eq!(drained(&mut world), !forget);
            if !forget {
                // Its last knock made it home anew: 24 hours from then on.
                world.pass(SECOND * (24 * 3600 - 1));
                assert!(drained(&mut world));
                world.pass(SECOND * (24 * 3600));
                assert!(!drained(&mut world));
            }
        }
    }
}

/// Forged and copied stages from many sources, ahead of the client's and between them: one session
/// has one progress, from which nobody pushes the client out.
#[test]
fn p4_forged_stages_from_many_sources() {
    for home in homes() {
        for ask in [Ask::default(), Ask::bound(home)] {
            let mut world = World::new(Setup::default());
            let thief = Thief::of_psk(&world.actors[0]);
            let knock = world.knock(0, &ask);
            let flood = |world: &mut World, copied: usize| {
                let epoch = epoch_of(world.now.unix_ms);
                for i in 0..500 {
                    let source = foreign(home, i);
                    for stage in 0..3u8 {
                        let forged = thief.packet(epoch, stage, [stage; 32], [9; 96]);
                        world.datagram(&forged, source, 7001 + u16::from(stage));
                        // A stage of the client's with another end.
                        let (port, bytes) = knock.packet(stage.into());
                        let mut bytes = bytes.to_vec();
                        *bytes.last_mut().unwrap() ^= 1;
                        world.datagram(&bytes, source, port);
                    }
                    for stage in 0..copied {
                        world.stage(&knock, stage, source);
                    }
                }
            };
            for stage in 0..3 {
                flood(&mut world, stage);
                world.pass(ms(20));
                world.stage(&knock, stage, home);
            }
            assert!(world.has_opened(&knock));
            assert_eq!(world.openings()[0].2, home.ip());
            assert_eq!(world.openings().len(), 1);
        }
    }
}
