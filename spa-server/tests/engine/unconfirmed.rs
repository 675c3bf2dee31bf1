//! A CONFIRM while the server changes, is slow or fails.

use std::net::SocketAddr;
use std::sync::Arc;

use spa_proto::{Reason, Status};
use spa_server::engine::{EventKind, RegisteredClient, Registry, ServiceTerms, Stanza};

use crate::actors::{Actor, Ask, Knock, home4, home6};
use crate::world::{SECOND, Setup, World, server_secret, services, stanza};

/// A knock of client 1 whose stages have come and that nobody has confirmed.
fn knocked(home: SocketAddr) -> (World, Knock) {
    let mut world = World::new(Setup::default());
    world.confirms = false;
    let knock = world.go(1, &Ask::default(), home);
    assert_eq!(world.firewall.live.len(), 1);
    world.acks.clear();
    (world, knock)
}

fn homes() -> [SocketAddr; 2] {
    [home4(1), home6(1)]
}

fn reload(world: &mut World, clients: Vec<RegisteredClient>, services: Vec<ServiceTerms>) {
    let registry = Registry::new(server_secret(), services, clients).unwrap();
    let settings = world.settings.clone();
    world.reload(Arc::new(registry), settings);
}

fn enrolled(world: &World) -> Vec<RegisteredClient> {
    world.actors.iter().map(Actor::enrolled).collect()
}

/// Number, status, reason of the answers since the last call.
fn told(world: &mut World, knock: &Knock) -> Vec<(u8, Status, Reason)> {
    let open = |bytes: Vec<u8>| knock.session.open_ack(&bytes).unwrap().0;
    let acks = world.acks.drain(..).map(|(_, bytes)| open(bytes));
    acks.map(|ack| (ack.number, ack.status, ack.reason)).collect()
}

fn lasting(world: &World) -> usize {
    world.firewall.live.values().filter(|(grant, _)| !grant.provisional).count()
}

/// The client's place in the list does not matter, nor what others may.
#[test]
fn after_a_reload() {
    for home in homes() {
        for skipped in [0, 1] {
            let (mut world, knock) = knocked(home);
            let clients = enrolled(&world).split_off(skipped);
            reload(&mut world, clients, services());
            world.confirm(&knock, 1, home);
            assert_eq!(told(&mut world, &knock), [(1, Status::Granted, Reason::None)]);
            assert_eq!(&*world.opens[0].1.client, "client1");
        }
    }
}

/// Who is removed, or has another key, confirms nothing, and gets no answer.
#[test]
fn after_revocation() {
    for home in homes() {
        for replaced in [false, true] {
            let (mut world, knock) = knocked(home);
            let all = enrolled(&world);
            let mut clients = all.clone();
            let gone = clients.remove(1);
            if replaced {
                let other = Actor::new(9, stanza(), world.actors[0].server).public;
                clients.push(RegisteredClient { public: other, ..gone });
            }
            reload(&mut world, clients, services());
            assert!(world.firewall.live.is_empty(), "what was for a moment ends at once");
            world.confirm(&knock, 1, home);
            // Nor once it is back.
            reload(&mut world, all, services());
            world.confirm(&knock, 2, home);
            assert_eq!((world.acks.len(), world.opens.len()), (0, 0));
        }
    }
}

/// Policy is that of the CONFIRM's moment: refused, with its number, and the next one may fare
/// better.
#[test]
fn refused_by_policy_now() {
    for home in homes() {
        let now = Setup::default().start_ms;
        let network = |text: &str| text.parse().unwrap();
        let from = |net| Stanza { from: vec![network(net)], ..stanza() };
        for (rights, reason) in [
            (from("203.0.113.0/24"), Reason::From),
            (Stanza { expires_ms: Some(now), ..stanza() }, Reason::Expired),
            (Stanza { max_ttl: Some(SECOND), ..stanza() }, Reason::Ttl),
            (Stanza { max_grants: Some(0), ..stanza() }, Reason::MaxGrants),
        ] {
            let mut world = World::new(Setup::default());
            world.confirms = false;
            let knock = world.go(1, &Ask::ttl(60), home);
            world.acks.clear();
            let all = enrolled(&world);
            let mut clients = all.clone();
            clients[1].stanza = rights;
            reload(&mut world, clients, services());
            world.confirm(&knock, 1, home);
            world.confirm(&knock, 1, home);
            assert_eq!(told(&mut world, &knock), [(1, Status::Denied, reason); 2]);
            assert_eq!(lasting(&world), 0);
            reload(&mut world, all, services());
            world.confirm(&knock, 2, home);
            assert_eq!(told(&mut world, &knock), [(2, Status::Granted, Reason::None)]);
        }
    }
}

#[test]
fn a_service_or_a_right_that_is_gone() {
    for home in homes() {
        for service_too in [false, true] {
            let (mut world, knock) = knocked(home);
            let mut clients = enrolled(&world);
            clients.iter_mut().for_each(|c| c.stanza.services.retain(|name| &**name != "ssh"));
            let kept = services().into_iter().filter(|s| !service_too || &*s.name != "ssh");
            reload(&mut world, clients, kept.collect());
            world.confirm(&knock, 1, home);
            assert_eq!(told(&mut world, &knock), [(1, Status::Denied, Reason::Service)]);
            assert!(world.firewall.live.is_empty());
        }
    }
}

/// Acks that a reload switches off: nobody can be told, so nothing is confirmed, and no second
/// source is let in either.
#[test]
fn acks_switched_off_meanwhile() {
    for home in homes() {
        let (mut world, knock) = knocked(home);
        let mut settings = world.settings.clone();
        settings.ack = false;
        let registry = Arc::clone(&world.registry);
        world.reload(registry, settings);
        world.confirm(&knock, 1, home);
        world.stage(&knock, 2, home4(7));
        assert_eq!((world.opens.len(), world.provisional.len()), (0, 1));
    }
}

/// While the firewall works on one, others are ignored; the client's repetition gets the answer. A
/// last stage from elsewhere is answered when it is done, and opens nothing.
#[test]
fn the_firewall_is_slow() {
    for home in homes() {
        let (mut world, knock) = knocked(home);
        world.firewall.held = true;
        for number in [1, 1, 2] {
            world.confirm(&knock, number, home);
        }
        world.stage(&knock, 2, home4(7));
        assert!(world.acks.is_empty());
        world.release_firewall();
        let granted = |number| (number, Status::Granted, Reason::None);
        assert_eq!(told(&mut world, &knock), [granted(1), granted(0)]);
        assert_eq!((world.opens.len(), world.firewall.live.len()), (1, 1));
        world.confirm(&knock, 1, home);
        world.confirm(&knock, 2, home);
        let both = [(1, Status::Granted, Reason::None), (2, Status::Granted, Reason::None)];
        assert_eq!(told(&mut world, &knock), both);
        assert_eq!(world.engine.counters().internal_errors, 0);
    }
}

/// The provisional grant is on its way still: its client has not heard of it, so a CONFIRM is
/// nobody's.
#[test]
fn before_the_firewall_or_the_store_has_answered() {
    for home in homes() {
        for slow_store in [false, true] {
            let mut world = World::new(Setup::default());
            world.confirms = false;
            world.firewall.held = !slow_store;
            world.store.held = slow_store.then(Vec::new);
            let knock = world.go(1, &Ask::default(), home);
            world.confirm(&knock, 1, home);
            assert!(world.firewall.live.is_empty() && world.acks.is_empty());
            world.release_store();
            world.release_firewall();
            assert_eq!(told(&mut world, &knock), [(0, Status::Granted, Reason::None)]);
            assert_eq!(lasting(&world), 0);
            world.confirm(&knock, 1, home);
            assert_eq!(told(&mut world, &knock), [(1, Status::Granted, Reason::None)]);
        }
    }
}

#[test]
fn the_firewall_fails() {
    for home in homes() {
        for banned in [false, true] {
            let (mut world, knock) = knocked(home);
            world.logged();
            let answer = if banned {
                world.firewall.banned.insert(home.ip());
                (1, Status::Denied, Reason::Banned)
            } else {
                world.firewall.fails = true;
                (1, Status::Busy, Reason::Firewall)
            };
            world.confirm(&knock, 1, home);
            world.confirm(&knock, 1, home);
            assert_eq!(told(&mut world, &knock), [answer; 2]);
            let kind = if banned { EventKind::Denied } else { EventKind::Failed };
            assert_eq!(world.logged(), [(kind, answer.2)]);
            assert_eq!((lasting(&world), world.engine.counters().granted), (0, 0));
            world.firewall.fails = false;
            world.firewall.banned.clear();
            world.confirm(&knock, 2, home);
            assert_eq!(told(&mut world, &knock), [(2, Status::Granted, Reason::None)]);
            assert_eq!(world.firewall.live.len(), 1);
        }
    }
}

/// What store or firewall refused to open has nothing to confirm.
#[test]
fn what_failed_is_not_confirmed() {
    for home in homes() {
        for of_store in [false, true] {
            let mut world = World::new(Setup::default());
            world.confirms = false;
            (world.store.fails, world.firewall.fails) = (of_store, !of_store);
            let knock = world.go(1, &Ask::default(), home);
            (world.store.fails, world.firewall.fails) = (false, false);
            world.acks.clear();
            world.confirm(&knock, 1, home);
            assert_eq!((world.acks.len(), world.firewall.live.len()), (0, 0));
            let next = world.go(1, &Ask::default(), home);
            world.confirm(&next, 1, home);
            assert!(world.has_opened(&next));
        }
    }
}
