//! Copies of a client's packets from other addresses.

use spa_proto::{Reason, Status};
use spa_server::engine::EventKind;

use crate::actors::{Ask, addr, elsewhere, home4, home6};
use crate::world::{SECOND, Setup, World};

/// A session has one progress, whatever sources its stages come from: a copy of a stage is as good
/// as the stage. Only whoever is told and confirms its address keeps the grant.
#[test]
fn two_sources_that_have_half_each_make_one_session() {
    let mut world = World::new(Setup::default());
    let knock = world.knock(0, &Ask::default());
    world.stage(&knock, 0, home4(0));
    world.stage(&knock, 1, elsewhere());
    assert!(world.provisional.is_empty());
    world.stage(&knock, 2, elsewhere());
    assert_eq!(world.provisional.len(), 1);
    assert!(world.opens.is_empty());
    world.stage(&knock, 2, home4(0));
    assert_eq!(world.openings().len(), 1);
    assert_eq!(world.openings()[0].2, home4(0).ip());
    assert_eq!(world.firewall.live.len(), 1);
    assert_eq!(
        world.logged(),
        [(EventKind::OtherSource, Reason::None), (EventKind::Granted, Reason::None)]
    );
}

/// Half of a bound session from elsewhere is no half of it.
#[test]
fn two_sources_that_have_half_of_a_bound_session_each_open_nothing() {
    for home in [home4(0), home6(0)] {
        let mut world = World::new(Setup::default());
        let knock = world.knock(0, &Ask::bound(home));
        world.stage(&knock, 0, home);
        world.stage(&knock, 1, elsewhere());
        world.stage(&knock, 2, home);
        world.pass(SECOND);
        world.stage(&knock, 2, elsewhere());
        assert!(world.firewall.live.is_empty() && world.acks.is_empty());
        world.stage(&knock, 1, home);
        world.stage(&knock, 2, home);
        assert_eq!(world.openings().len(), 1);
    }
}

/// Before, between and after the client's own packets; single stages that a forger copied.
#[test]
fn copies_from_elsewhere_never_hold_up_the_client() {
    for copied in 0..3usize {
        for at in 0..3usize {
            let mut world = World::new(Setup::default());
            let knock = world.knock(0, &Ask::default());
            for stage in 0..3 {
                if stage == at {
                    for _ in 0..5 {
                        world.stage(&knock, copied, elsewhere());
                    }
                }
                world.stage(&knock, stage, home4(0));
            }
            assert!(world.has_opened(&knock), "stage {copied} copied before stage {at}");
            assert_eq!(world.openings()[0].2, home4(0).ip());
            let told =
                world.logged().iter().filter(|(kind, _)| *kind == EventKind::OtherSource).count();
            assert!(told <= 1);
        }
    }
}

#[test]
fn a_bound_session_works_from_its_address_only() {
    for home in [home4(0), home6(0)] {
        let mut world = World::new(Setup::default());
        let knock = world.knock(0, &Ask::bound(home));
        world.whole(&knock, elsewhere());
        world.whole(&knock, elsewhere());
        assert!(world.opens.is_empty() && world.acks.is_empty());
        assert_eq!(world.logged(), [], "ignored without a line");
        // The relay was first, and still the client gets in.
        world.whole(&knock, home);
        assert!(world.has_opened(&knock));
        assert_eq!(world.answers(&knock), [(home, Status::Granted, Reason::None)]);
    }
}

#[test]
fn a_relay_that_comes_second() {
    let mut world = World::new(Setup::default());
    let knock = world.knock(0, &Ask::bound(home4(0)));
    world.stage(&knock, 0, home4(0));
    world.whole(&knock, elsewhere());
    world.stage(&knock, 1, home4(0));
    world.whole(&knock, elsewhere());
    world.stage(&knock, 2, home4(0));
    world.whole(&knock, elsewhere());
    assert_eq!(world.openings().len(), 1);
    assert_eq!(world.openings()[0].2, home4(0).ip());
    assert_eq!(world.logged(), [(EventKind::Granted, Reason::None)]);
}

/// A port that the address translation changed is no other source.
#[test]
fn the_source_port_does_not_matter() {
    let mut world = World::new(Setup::default());
    let knock = world.knock(0, &Ask::bound(home4(0)));
    for stage in 0..3u16 {
        let mut from = home4(0);
        from.set_port(5000 + stage);
        world.stage(&knock, stage.into(), from);
    }
    assert!(world.has_opened(&knock));
    assert_eq!(world.acks[0].0.port(), 5002);
}

/// More forged addresses than the engine keeps apart, all faster than the client: it still gets in.
#[test]
fn many_forged_sources_ahead_of_the_client() {
    let mut world = World::new(Setup::default());
    let knock = world.knock(0, &Ask::default());
    for i in 0..200 {
        world.stage(&knock, 0, addr(&format!("198.51.100.{i}:9")));
    }
    world.whole(&knock, home4(0));
    assert!(world.has_opened(&knock));
    assert_eq!(
        world.logged(),
        [(EventKind::OtherSource, Reason::None), (EventKind::Granted, Reason::None)]
    );
}

/// The same flood between the client's stages does not throw it out either.
#[test]
fn many_forged_sources_between_the_stages() {
    let mut world = World::new(Setup::default());
    let knock = world.knock(0, &Ask::default());
    for stage in 0..3 {
        world.stage(&knock, stage, home4(0));
        for i in 0..200 {
            if stage < 2 {
                world.stage(&knock, stage, addr(&format!("198.51.100.{i}:9")));
            }
        }
    }
    assert!(world.has_opened(&knock));
    assert_eq!(world.openings()[0].2, home4(0).ip());
}

/// A copier is faster, and the client's own last stage comes while store or firewall work on his:
/// the client is answered when they are done, without sending anything again.
#[test]
fn who_is_slower_is_answered_with_the_decision_about_a_copy() {
    for home in [home4(0), home6(0)] {
        for at_store in [true, false] {
            let mut world = World::new(Setup::default());
            if at_store {
                world.store.held = Some(Vec::new());
            } else {
                world.firewall.held = true;
            }
            let knock = world.knock(0, &Ask::default());
            world.stage(&knock, 0, home);
            world.stage(&knock, 1, home);
            for _ in 0..20 {
                world.stage(&knock, 2, elsewhere());
            }
            world.stage(&knock, 2, home);
            for _ in 0..20 {
                world.stage(&knock, 2, elsewhere());
            }
            assert!(world.acks.is_empty());
            world.release_store();
            world.release_firewall();
            assert!(world.has_opened(&knock), "{home}, store {at_store}");
            assert_eq!(world.openings()[0].2, home.ip());
            assert_eq!(world.acks_to(&knock, elsewhere()).len(), 1, "{home}, store {at_store}");
        }
    }
}

/// The copier's address is refused by the firewall, which takes its time.
#[test]
fn who_is_slower_than_a_banned_copier_is_decided_on_his_own() {
    for home in [home4(0), home6(0)] {
        let mut world = World::new(Setup::default());
        world.firewall.banned.insert(elsewhere().ip());
        world.firewall.held = true;
        let knock = world.knock(0, &Ask::default());
        world.whole(&knock, elsewhere());
        world.stage(&knock, 2, home);
        world.release_firewall();
        assert!(world.has_opened(&knock), "{home}");
    }
}

/// A copier takes the places of those who wait, and no more than those.
#[test]
fn who_waits_for_a_decision_is_answered_within_bounds() {
    let mut world = World::new(Setup::default());
    let knock = world.knock(0, &Ask::default());
    world.store.held = Some(Vec::new());
    world.whole(&knock, elsewhere());
    for port in 2000..3000 {
        world.stage(&knock, 2, addr(&format!("198.51.100.9:{port}")));
    }
    world.release_store();
    assert_eq!(world.acks.len(), 17);
}
