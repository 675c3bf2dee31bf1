//! Clients, services and rights that a reload takes away: what they have open is closed.

use std::sync::Arc;

use spa_proto::ServerSecret;
use spa_server::domain::grant::RevokeReason;
use spa_server::engine::{EventKind, RegisteredClient, Registry, ServiceTerms};

use crate::actors::{Actor, Ask, home4, home6};
use crate::world::{SECOND, Setup, Stop, World, server_secret, services, stanza};

/// Reads the configuration anew with these clients and services.
fn reload(world: &mut World, clients: Vec<RegisteredClient>, services: Vec<ServiceTerms>) {
    let registry = Registry::new(server_secret(), services, clients).unwrap();
    let settings = world.settings.clone();
    world.reload(Arc::new(registry), settings);
}

fn enrolled(world: &World) -> Vec<RegisteredClient> {
    world.actors.iter().map(Actor::enrolled).collect()
}

/// Two clients, each with ssh and web open from both families: g1 to g8.
fn open() -> World {
    let mut world = World::new(Setup::default());
    for client in 0..2 {
        for ask in [Ask::default(), Ask::service("web")] {
            world.go(client, &ask, home4(client));
            world.go(client, &ask, home6(client));
        }
    }
    assert_eq!(world.firewall.live.len(), 8);
    world.logged();
    world
}

fn live(world: &World) -> Vec<u64> {
    world.firewall.live.keys().map(|id| id.0).collect()
}

#[test]
fn a_client_that_is_removed() {
    let mut world = open();
    let rest = enrolled(&world).split_off(1);
    reload(&mut world, rest, services());
    assert_eq!(world.revoked, [1, 2, 3, 4].map(|id| (id, RevokeReason::Client)));
    assert_eq!(live(&world), [5, 6, 7, 8]);
    assert_eq!(world.engine.live_grants(), 4);
    // It is back: what it opens has new numbers, and nothing is closed again.
    let all = enrolled(&world);
    reload(&mut world, all, services());
    world.tick();
    world.go(0, &Ask::default(), home4(0));
    assert_eq!(live(&world), [5, 6, 7, 8, 9]);
    assert_eq!(world.revoked.len(), 4);
}

/// A key that was stolen is replaced: the thief's grants end, although the name stays.
#[test]
fn a_key_that_is_replaced() {
    let mut world = open();
    let mut clients = enrolled(&world);
    clients[0].public = Actor::new(9, stanza(), world.actors[0].server).public;
    reload(&mut world, clients, services());
    assert_eq!(world.revoked, [1, 2, 3, 4].map(|id| (id, RevokeReason::Client)));
    assert_eq!(live(&world), [5, 6, 7, 8]);
}

#[test]
fn a_service_that_is_removed() {
    let mut world = open();
    let without: Vec<ServiceTerms> = services().into_iter().filter(|s| &*s.name != "web").collect();
    let mut clients = enrolled(&world);
    clients.iter_mut().for_each(|client| client.stanza.services.retain(|name| &**name != "web"));
    reload(&mut world, clients, without);
    assert_eq!(world.revoked, [3, 4, 7, 8].map(|id| (id, RevokeReason::Service)));
    assert_eq!(live(&world), [1, 2, 5, 6]);
}

#[test]
fn a_right_that_is_taken_away() {
    let mut world = open();
    let mut clients = enrolled(&world);
    clients[1].stanza.services.retain(|name| &**name != "ssh");
    reload(&mut world, clients, services());
    assert_eq!(world.revoked, [5, 6].map(|id| (id, RevokeReason::Right)));
    assert_eq!(live(&world), [1, 2, 3, 4, 7, 8]);
}

/// Whatever else changes: what is open stays open.
#[test]
fn nothing_else_closes() {
    let mut world = open();
    let mut clients = enrolled(&world);
    clients.reverse();
    for client in &mut clients {
        client.stanza.max_grants = Some(1);
        client.stanza.from = vec!["203.0.113.0/24".parse().unwrap()];
        client.stanza.prefix_v4 = Some(24);
    }
    reload(&mut world, clients, services());
    assert_eq!((world.revoked.len(), world.firewall.live.len()), (0, 8));
}

/// The firewall cannot close: it is asked again until it can.
#[test]
fn a_firewall_that_fails_is_asked_again() {
    let mut world = open();
    world.firewall.fails = true;
    let rest = enrolled(&world).split_off(1);
    reload(&mut world, rest.clone(), services());
    assert_eq!(world.engine.live_grants(), 8);
    reload(&mut world, rest, services());
    world.pass(SECOND);
    assert_eq!(world.firewall.live.len(), 8);
    world.firewall.fails = false;
    world.pass(SECOND);
    assert_eq!(live(&world), [5, 6, 7, 8]);
    let asked = world.revoked.len();
    world.pass(SECOND);
    assert_eq!(world.revoked.len(), asked);
}

/// It ended by itself meanwhile: nothing is left to close.
#[test]
fn what_has_ended_is_not_closed() {
    let mut world = open();
    world.firewall.fails = true;
    let rest = enrolled(&world).split_off(1);
    reload(&mut world, rest, services());
    world.pass(SECOND * 601);
    let asked = world.revoked.len();
    world.firewall.fails = false;
    world.pass(SECOND);
    assert_eq!(world.revoked.len(), asked);
}

/// Removed while no server ran: closed at the start.
#[test]
fn removed_while_the_server_was_down() {
    for stop in [Stop::Clean, Stop::Crash] {
        let mut world = open();
        let rest = enrolled(&world).split_off(1);
        world.registry = Arc::new(Registry::new(server_secret(), services(), rest).unwrap());
        world.restart(stop);
        world.pump();
        assert_eq!(world.revoked, [1, 2, 3, 4].map(|id| (id, RevokeReason::Client)));
        assert_eq!(live(&world), [5, 6, 7, 8]);
    }
}

/// The firewall was opening it while the client was removed: it ends, and no CONFIRM brings it back.
#[test]
fn removed_while_the_firewall_works() {
    for (ask, kind) in
        [(Ask::bound(home4(0)), EventKind::Granted), (Ask::default(), EventKind::Provisional)]
    {
        let mut world = World::new(Setup::default());
        world.firewall.held = true;
        let knock = world.go(0, &ask, home4(0));
        let all = enrolled(&world);
        reload(&mut world, all.clone().split_off(1), services());
        world.release_firewall();
        assert_eq!(world.revoked, [(1, RevokeReason::Client)]);
        assert_eq!(live(&world), Vec::<u64>::new());
        assert_eq!(world.log.iter().map(|event| event.kind).collect::<Vec<_>>(), [kind]);
        // Nor when it is enrolled again.
        reload(&mut world, all, services());
        world.acks.clear();
        world.stage(&knock, 2, home4(0));
        world.confirm(&knock, 2, home4(0));
        assert_eq!((live(&world).len(), world.acks.len()), (0, 0));
    }
}

/// What an administrator opened belongs to no client; it ends with its service.
#[test]
fn an_administrators_grant_stays() {
    let mut world = open();
    let (mut grant, until) = world.firewall.live.values().next().unwrap().clone();
    (grant.id.0, grant.client) = (77, ":admin".into());
    world.firewall.live.insert(grant.id, (grant.clone(), until));
    world.engine.adopt([(grant, SECOND * 100)], world.now);
    reload(&mut world, Vec::new(), services());
    assert_eq!(live(&world), [77]);
    let without: Vec<ServiceTerms> = services().into_iter().filter(|s| &*s.name != "ssh").collect();
    reload(&mut world, Vec::new(), without);
    assert_eq!(world.revoked.last(), Some(&(77, RevokeReason::Service)));
}

/// The index by name finds each of many clients, whatever their order in the file.
#[test]
fn stanzas_by_name() {
    let client = |i: usize| RegisteredClient {
        name: format!("c{}", i * 7919 % 1000),
        ..Actor::new(0, stanza(), public()).enrolled()
    };
    let registry = Registry::new(server_secret(), services(), (0..1000).map(client)).unwrap();
    assert!((0..1000).all(|i| registry.stanza(&format!("c{i}")).is_some()));
    assert!(["", "c", "c1000", "d"].iter().all(|name| registry.stanza(name).is_none()));
}

fn public() -> spa_proto::ServerPublic {
    ServerSecret::from_bytes([77; 32]).public()
}
