//! Renewal, closing, limits while the firewall has not answered yet.

use spa_proto::{Op, Reason, Status};
use spa_server::engine::{EventKind, Stanza};

use crate::actors::{Ask, home4, home6};
use crate::world::{SECOND, Setup, Stop, World, stanza};

#[test]
fn renewal_keeps_the_number() {
    for op in [Op::Open, Op::Renew] {
        let mut world = World::new(Setup::default());
        world.go(0, &Ask::default(), home4(0));
        world.pass(SECOND * 590);
        world.go(0, &Ask { op, ..Ask::default() }, home4(0));
        world.pass(SECOND * 590);
        assert_eq!(world.opens[0].1.id, world.opens[1].1.id);
        assert_eq!(world.firewall.live.len(), 1);
        assert_eq!(
            world.logged(),
            [(EventKind::Granted, Reason::None), (EventKind::Renewed, Reason::None)]
        );
        // Another service, source or client, or a grant that has ended, has a number of its own.
        world.go(0, &Ask::service("web"), home4(0));
        world.go(0, &Ask::default(), home6(0));
        world.go(1, &Ask::default(), home4(0));
        world.pass(SECOND * 601);
        world.go(0, &Ask::default(), home4(0));
        let mut ids: Vec<_> = world.opens.iter().skip(1).map(|(_, grant)| grant.id).collect();
        ids.dedup();
        assert_eq!(ids.len(), 5);
    }
}

#[test]
fn renewal_over_a_restart() {
    for stop in [Stop::Clean, Stop::Crash] {
        let mut world = World::new(Setup::default());
        world.go(0, &Ask::default(), home4(0));
        world.pass(SECOND * 100);
        world.restart(stop);
        assert_eq!(world.engine.live_grants(), 1);
        // After a crash: the fence.
        world.pass(SECOND * 12);
        world.go(0, &Ask::default(), home4(0));
        world.go(1, &Ask::default(), home4(0));
        assert_eq!(world.opens[0].1.id, world.opens[1].1.id);
        assert_ne!(world.opens[0].1.id, world.opens[2].1.id);
    }
}

/// Two services of client 0 from both families, one of client 1: g1 to g4.
fn four() -> World {
    let mut world = World::new(Setup::default());
    world.go(0, &Ask::default(), home4(0));
    world.go(0, &Ask::service("web"), home4(0));
    world.go(0, &Ask::default(), home6(0));
    world.go(1, &Ask::default(), home4(0));
    world.log.clear();
    world.acks.clear();
    world
}

fn left(world: &World) -> Vec<u64> {
    world.firewall.live.values().map(|(grant, _)| grant.id.0).collect()
}

#[test]
fn close() {
    let mut world = four();
    let bound = Ask { bind_src: Some(home4(0).ip()), ..Ask::close("ssh") };
    let knock = world.go(0, &bound, home4(0));
    assert_eq!(world.logged(), [(EventKind::Closed, Reason::None)]);
    assert_eq!(world.answers(&knock), [(home4(0), Status::Granted, Reason::None)]);
    assert_eq!(left(&world), [2, 3, 4]);
    assert_eq!(world.engine.live_grants(), 3);
    // Nothing is live any more: still no error. A replay closes nothing.
    world.go(0, &bound, home4(0));
    world.go(0, &Ask::default(), home4(0));
    world.whole(&knock, home4(0));
    assert_eq!(world.firewall.live.len(), 4);
}

/// The source of a CLOSE says nothing about what it ends, and only its client's own grants end.
#[test]
fn close_ends_what_it_names() {
    let for_addr = |source: std::net::SocketAddr| Ask::for_addr(Op::Close, source.ip());
    for (ask, rest) in [
        (Ask::close("ssh"), vec![2, 4]),
        (Ask::close("web"), vec![1, 3, 4]),
        (Ask::close(""), vec![4]),
        (for_addr(home6(0)), vec![1, 2, 4]),
        (for_addr(home4(0)), vec![2, 3, 4]),
        (for_addr(home4(1)), vec![1, 2, 3, 4]),
    ] {
        for from in [home4(7), home6(7)] {
            let mut world = four();
            let knock = world.go(0, &ask, from);
            assert_eq!(left(&world), rest);
            let (ack, _) = knock.session.open_ack(&world.acks[0].1).unwrap();
            assert_eq!((ack.status, ack.ttl_s, ack.provisional), (Status::Granted, 0, false));
        }
    }
}

#[test]
fn close_that_fails_is_busy() {
    let mut world = World::new(Setup::default());
    world.go(0, &Ask::default(), home4(0));
    world.logged();
    world.firewall.fails = true;
    let knock = world.go(0, &Ask::close("ssh"), home4(0));
    assert_eq!(world.answers(&knock), [(home4(0), Status::Busy, Reason::Firewall)]);
    assert_eq!(world.logged(), [(EventKind::Failed, Reason::Firewall)]);
    assert_eq!(world.engine.live_grants(), 1);
}

#[test]
fn two_sessions_race_for_one_grant() {
    let mut world = World::new(Setup::with(Stanza { max_grants: Some(1), ..stanza() }));
    let web = Ask { service: "web", ..Ask::bound(home4(0)) };
    world.firewall.held = true;
    let first = world.go(0, &Ask::bound(home4(0)), home4(0));
    let second = world.go(0, &web, home4(0));
    assert_eq!(world.answers(&second), [(home4(0), Status::Denied, Reason::MaxGrants)]);
    world.release_firewall();
    assert!(world.has_opened(&first));
    assert_eq!(world.firewall.live.len(), 1);
    // A failed open gives its place back.
    world.pass(SECOND * 601);
    world.firewall.fails = true;
    world.go(0, &Ask::bound(home4(0)), home4(0));
    world.firewall.fails = false;
    let again = world.go(0, &web, home4(0));
    assert!(world.has_opened(&again));
}

/// Provisional grants do not count for the limit; what is confirmed does, from its CONFIRM on.
#[test]
fn two_confirms_race_for_one_grant() {
    let mut world = World::new(Setup::with(Stanza { max_grants: Some(1), ..stanza() }));
    world.confirms = false;
    let first = world.go(0, &Ask::default(), home4(0));
    let second = world.go(0, &Ask::service("web"), home4(0));
    assert_eq!(world.firewall.live.len(), 2);
    world.acks.clear();
    world.firewall.held = true;
    world.confirm(&first, 1, home4(0));
    world.confirm(&second, 1, home4(0));
    assert_eq!(world.answers(&second), [(home4(0), Status::Denied, Reason::MaxGrants)]);
    world.release_firewall();
    assert_eq!(world.answers(&first), [(home4(0), Status::Granted, Reason::None)]);
    world.pass(SECOND * 10);
    assert_eq!(world.firewall.live.len(), 1);
}

#[test]
fn a_grant_that_ended_otherwise_is_forgotten() {
    let mut world = World::new(Setup::with(Stanza { max_grants: Some(1), ..stanza() }));
    let first = world.go(0, &Ask::default(), home4(0));
    let id = world.opens[0].1.id;
    // An operator revoked it.
    world.firewall.close(&[id]).unwrap();
    world.engine.apply_close_outcome(world.now, first.id(), Ok(vec![id]));
    let second = world.go(0, &Ask::default(), home4(1));
    assert!(world.has_opened(&second));
}

/// Two knocks for the same service from the same source are one grant, also when the firewall is
/// slow.
#[test]
fn twins_are_one_grant() {
    let mut world = World::new(Setup::with(Stanza { max_grants: Some(1), ..stanza() }));
    world.firewall.held = true;
    world.go(0, &Ask::default(), home4(0));
    world.go(0, &Ask::default(), home4(0));
    world.release_firewall();
    assert_eq!(world.opens.len(), 2);
    assert_eq!(world.firewall.live.len(), 1);
    assert_eq!(world.engine.live_grants(), 1);
    assert_eq!(
        world.logged(),
        [(EventKind::Granted, Reason::None), (EventKind::Renewed, Reason::None)]
    );
}

/// A renewal whose grant ends while the firewall works on it still counts.
#[test]
fn a_renewal_on_its_way_counts() {
    let mut world = World::new(Setup::with(Stanza { max_grants: Some(1), ..stanza() }));
    world.go(0, &Ask::ttl(5), home4(0));
    world.pass(SECOND * 4);
    world.firewall.held = true;
    world.go(0, &Ask::ttl(5), home4(0));
    world.pass(SECOND * 2);
    let other = world.go(0, &Ask::service("web"), home4(0));
    world.release_firewall();
    assert!(!world.has_opened(&other));
    assert_eq!(world.firewall.live.len(), 1);
}

/// The close came while the open was on its way: it closes that one.
#[test]
fn close_overtakes_no_open() {
    let mut world = World::new(Setup::default());
    world.firewall.held = true;
    world.go(0, &Ask::default(), home4(0));
    world.go(0, &Ask::close("ssh"), home4(0));
    world.release_firewall();
    assert!(world.firewall.live.is_empty());
    assert_eq!(world.engine.live_grants(), 0);
}

/// A server of before left two grants for the same thing: a close ends both.
#[test]
fn close_ends_all_of_them() {
    let mut world = World::new(Setup::default());
    world.go(0, &Ask::default(), home4(0));
    let (mut twin, until) = world.firewall.live.values().next().unwrap().clone();
    twin.id.0 += 7;
    world.firewall.live.insert(twin.id, (twin.clone(), until));
    world.engine.adopt([(twin, SECOND * 100)], world.now);
    world.go(0, &Ask::close("ssh"), home4(0));
    assert!(world.firewall.live.is_empty());
}

/// What the firewall opened is known and told although the configuration was read anew meanwhile.
#[test]
fn reload_while_the_firewall_works() {
    let mut world = World::new(Setup::default());
    world.firewall.held = true;
    let knock = world.go(0, &Ask::default(), home4(0));
    let (registry, settings) = (std::sync::Arc::clone(&world.registry), world.settings.clone());
    world.reload(registry, settings);
    world.release_firewall();
    assert!(world.has_opened(&knock));
    assert_eq!(world.engine.live_grants(), 1);
    assert_eq!(world.logged(), [(EventKind::Granted, Reason::None)]);
    assert_eq!(world.answers(&knock), [(home4(0), Status::Granted, Reason::None)]);
}
