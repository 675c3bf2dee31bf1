//! ENROL and REKEY: who may, and what must be durable before anybody is told.

use std::time::Duration;

use spa_proto::{ClientPublic, Op, Reason, Status};
use spa_server::engine::{EventKind, RegisteredClient, Registry, ReplaceKeysError, Role, Stanza};

use crate::actors::{Ask, home4, home6};
use crate::world::{START, Setup, World, server_secret, services, stanza};

fn with(role: Role) -> World {
    World::new(Setup::with(Stanza { role, ..stanza() }))
}

const LIVE: Role = Role::Invitation { until_ms: START + 3_600_000 };

#[test]
fn each_op_has_its_role() {
    type New = fn(ClientPublic) -> Op;
    let cases: [(Role, New, EventKind); 2] =
        [(LIVE, Op::Enrol, EventKind::Enrolled), (Role::Client, Op::Rekey, EventKind::Rekeyed)];
    for source in [home4(0), home6(0)] {
        for (role, op, kind) in cases {
            let mut world = with(role);
            let knock = world.go(0, &Ask::op(op), source);
            assert_eq!(world.answers(&knock), [(source, Status::Granted, Reason::None)]);
            assert_eq!(world.logged(), [(kind, Reason::None)]);
            let [made] = world.replacements.as_slice() else { panic!("{:?}", world.replacements) };
            let actor = &world.actors[0];
            assert_eq!(
                (made.old, &*made.client, made.invited),
                (actor.public, "client0", role == LIVE)
            );
            // What the broker will believe: the old key's word, for this server.
            let body = made.evidence.read(&actor.server, &actor.public).unwrap();
            assert_eq!(body.op, op(made.new));
            assert!(made.evidence.read(&actor.server, &made.new).is_none());
            assert!(world.opens.is_empty());
            // Once.
            world.whole(&knock, source);
            assert_eq!(world.replacements.len(), 1);
        }
    }
}

#[test]
fn what_an_invitation_may_not() {
    for ask in [Ask::default(), Ask::close("ssh"), Ask::op(Op::Rekey)] {
        let mut world = with(LIVE);
        let knock = world.go(0, &ask, home4(0));
        assert_eq!(world.answers(&knock), [(home4(0), Status::Denied, Reason::Op)]);
        assert!(world.replacements.is_empty() && world.opens.is_empty());
    }
    for (role, reason) in [
        (Role::Client, Reason::Op),
        (Role::Former { until_ms: u64::MAX }, Reason::Op),
        (Role::Invitation { until_ms: START + 5_000 }, Reason::Expired),
    ] {
        let mut world = with(role);
        let knock = world.go(0, &Ask::op(Op::Enrol), home4(0));
        assert_eq!(world.answers(&knock), [(home4(0), Status::Denied, reason)]);
        assert!(world.replacements.is_empty());
    }
    let from = vec!["203.0.113.0/24".parse().unwrap()];
    let mut world = World::new(Setup::with(Stanza { role: LIVE, from, ..stanza() }));
    let knock = world.go(0, &Ask::op(Op::Enrol), home4(0));
    assert_eq!(world.answers(&knock), [(home4(0), Status::Denied, Reason::From)]);
}

#[test]
fn nothing_is_told_before_it_is_durable() {
    for (outcome, status, reason) in [
        (ReplaceKeysError::Refused("gone".into()), Status::Denied, Reason::Op),
        (ReplaceKeysError::Failed("disk".into()), Status::Busy, Reason::Store),
    ] {
        let mut world = with(LIVE);
        world.files = Some(Err(outcome));
        let knock = world.go(0, &Ask::op(Op::Enrol), home4(0));
        assert_eq!(world.answers(&knock), [(home4(0), status, reason)]);
        assert_eq!(world.engine.counters().granted, 0);
    }
}

/// `client0` with the keys of the second actor, and its former ones.
fn rotated(until_ms: u64) -> World {
    let mut world = World::new(Setup { stanzas: vec![stanza(), stanza()], ..Setup::default() });
    let mut clients: Vec<RegisteredClient> =
        world.actors.iter().map(|actor| actor.enrolled()).collect();
    clients[0].stanza.role = Role::Former { until_ms };
    clients[1].name = "client0".to_owned();
    clients.swap(0, 1);
    let registry =
        std::sync::Arc::new(Registry::new(server_secret(), services(), clients).unwrap());
    world.engine.reload(std::sync::Arc::clone(&registry), world.settings.clone(), Vec::new());
    world.registry = registry;
    world.engine.build_tables(world.now);
    world
}

#[test]
fn former_keys_are_good_until_the_new_ones_are_seen_or_their_time_is_over() {
    let mut world = rotated(START + 3_600_000);
    let old = world.go(0, &Ask::default(), home4(0));
    assert_eq!(world.answers(&old)[0].1, Status::Granted);
    assert!(world.seen.is_empty());
    // They have had their successor: they get no other.
    let again = world.go(0, &Ask::op(Op::Rekey), home4(0));
    assert_eq!(world.answers(&again), [(home4(0), Status::Denied, Reason::NewKeys)]);
    assert!(world.replacements.is_empty());
    let new = world.go(1, &Ask::default(), home4(1));
    assert_eq!(world.answers(&new)[0].1, Status::Granted);
    assert_eq!(world.seen, ["client0"]);

    let mut world = rotated(START + 8_000);
    world.pass(Duration::from_secs(4));
    let old = world.go(0, &Ask::default(), home4(0));
    assert_eq!(world.answers(&old), [(home4(0), Status::Denied, Reason::Expired)]);
    let new = world.go(1, &Ask::default(), home4(1));
    assert_eq!(world.answers(&new)[0].1, Status::Granted);
}
