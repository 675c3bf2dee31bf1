//! Store and firewall fail, are slow, say no.

use spa_proto::{Reason, Status};
use spa_server::engine::EventKind;

use crate::actors::{Ask, home4, home6};
use crate::world::{SECOND, Setup, Stop, World, ms};

#[test]
fn store_fails() {
    let mut world = World::new(Setup::default());
    world.store.fails = true;
    let knock = world.go(0, &Ask::default(), home4(0));
    assert!(world.opens.is_empty());
    assert_eq!(world.logged(), [(EventKind::Failed, Reason::Store)]);
    assert_eq!(world.answers(&knock), [(home4(0), Status::Busy, Reason::Store)]);
    // Burned, although it did not open.
    world.store.fails = false;
    world.whole(&knock, home4(0));
    assert!(world.opens.is_empty());
    let next = world.go(0, &Ask::default(), home4(0));
    assert!(world.has_opened(&next));
}

#[test]
fn store_is_slow() {
    let mut world = World::new(Setup::default());
    world.store.held = Some(Vec::new());
    let knocks = [
        world.go(0, &Ask::default(), home4(0)),
        world.go(1, &Ask::default(), home4(1)),
        world.go(2, &Ask::default(), home6(2)),
    ];
    assert!(world.opens.is_empty() && world.acks.is_empty() && world.log.is_empty());
    assert_eq!(world.store.asked.len(), 1, "one write for all");
    for knock in &knocks {
        world.whole(knock, home4(0));
    }
    world.release_store();
    assert_eq!(world.opens.len(), 3);
    assert!(world.opens.iter().all(|(_, grant)| grant.client.ends_with(['0', '1', '2'])));
}

/// What another server of a fleet has let in opens nothing here, at no time, and is not answered.
#[test]
fn used_elsewhere() {
    let mut world = World::new(Setup::default());
    let knock = world.knock(0, &Ask::default());
    world.store.used_elsewhere.insert(knock.session.id());
    world.whole(&knock, home4(0));
    assert!(world.opens.is_empty() && world.provisional.is_empty() && world.acks.is_empty());
    assert_eq!(world.logged(), [(EventKind::Replay, Reason::None)]);
    world.store.used_elsewhere.clear();
    world.whole(&knock, home4(0));
    world.whole(&knock, home6(1));
    assert!(world.opens.is_empty() && world.provisional.is_empty() && world.acks.is_empty());
    let next = world.go(0, &Ask::default(), home4(0));
    assert!(world.has_opened(&next));
}

#[test]
fn one_mark_covers_ten_seconds() {
    let mut world = World::new(Setup { start_ms: crate::world::START, ..Setup::default() });
    for _ in 0..1000 {
        world.go(0, &Ask::silent(home4(0)), home4(0));
        world.pass(ms(99));
    }
    assert_eq!(world.opens.len(), 1000);
    assert_eq!(world.store.asked.len(), 10);
    assert!(world.store.asked.windows(2).all(|pair| pair[1] >= pair[0] + 10_000));
}

#[test]
fn a_mark_that_came_too_late_for_a_newer_knock_is_asked_again() {
    let mut world = World::new(Setup { start_ms: crate::world::START + 9_999, ..Setup::default() });
    world.store.held = Some(Vec::new());
    let first = world.go(0, &Ask::default(), home4(0));
    world.pass(ms(10));
    let second = world.go(1, &Ask::default(), home4(1));
    assert_eq!(world.store.asked.len(), 1);
    world.release_store();
    assert!(world.has_opened(&first) && world.has_opened(&second));
    assert_eq!(world.store.asked.len(), 2);
}

#[test]
fn firewall_fails() {
    let mut world = World::new(Setup::default());
    world.firewall.fails = true;
    let knock = world.go(0, &Ask::default(), home4(0));
    assert!(world.opens.is_empty());
    let events = std::mem::take(&mut world.log);
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].kind, events[0].reason), (EventKind::Failed, Reason::Firewall));
    assert!(events[0].detail.as_deref().unwrap().contains("missing") && events[0].grant.is_none());
    assert_eq!(world.answers(&knock), [(home4(0), Status::Busy, Reason::Firewall)]);
    assert_eq!((world.engine.live_grants(), world.engine.counters().failed), (0, 1));
    world.firewall.fails = false;
    world.whole(&knock, home4(0));
    assert!(world.opens.is_empty(), "burned");
}

#[test]
fn firewall_is_slow() {
    let mut world = World::new(Setup::default());
    world.firewall.held = true;
    let knock = world.go(0, &Ask::default(), home4(0));
    world.whole(&knock, home4(0));
    assert!(world.acks.is_empty() && world.log.is_empty(), "no word before the firewall is open");
    world.release_firewall();
    assert_eq!(world.opens.len(), 1);
    assert_eq!(world.answers(&knock).len(), 1);
}

#[test]
fn banned_in_strict_mode() {
    for source in [home4(0), home6(0)] {
        let mut world = World::new(Setup::default());
        world.firewall.banned.insert(source.ip());
        let knock = world.go(0, &Ask::default(), source);
        assert!(world.opens.is_empty());
        assert_eq!(world.logged(), [(EventKind::Denied, Reason::Banned)]);
        assert_eq!(world.answers(&knock), [(source, Status::Denied, Reason::Banned)]);
        assert_eq!(world.engine.live_grants(), 0);
    }
}

/// The server dies after any one of the actions of a knock: the same packets open nothing
/// afterwards, a fresh knock does as soon as the fence has passed.
#[test]
fn crash_after_every_action() {
    for stop in 1..=5 {
        let mut world = World::new(Setup::default());
        world.crash_in = Some(stop);
        let knock = world.go(0, &Ask::default(), home4(0));
        let opened = world.opens.len();
        world.crash_in = None;
        if world.crashes == 0 {
            world.restart(Stop::Crash);
        }
        world.whole(&knock, home4(0));
        world.whole(&knock, home6(1));
        assert_eq!(world.opens.len(), opened, "after action {stop}");
        let left = world.engine.fence_left(world.now);
        assert!(left <= SECOND * 20);
        world.pass(left + ms(1));
        let fresh = world.go(0, &Ask::default(), home4(0));
        assert!(world.has_opened(&fresh), "after action {stop}");
    }
}

/// A client that gave up long ago, perhaps from an address that is another's by now, is not let in
/// when a stuck disk comes back.
#[test]
fn store_is_too_slow() {
    let mut world = World::new(Setup::default());
    world.store.held = Some(Vec::new());
    let knock = world.go(0, &Ask::default(), home4(0));
    world.pass(SECOND * 31);
    world.release_store();
    assert!(world.opens.is_empty());
    assert_eq!(world.logged(), [(EventKind::Failed, Reason::Store)]);
    assert_eq!(world.answers(&knock), [(home4(0), Status::Busy, Reason::Store)]);
}
