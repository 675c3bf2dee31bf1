//! Grants that an administrator opens and closes beside the clients' own.

use std::collections::HashSet;

use spa_proto::Reason;
use spa_server::domain::grant::ADMIN_NAME;
use spa_server::engine::{EventKind, Stanza};

use crate::actors::{Ask, home4, home6};
use crate::world::{SECOND, Setup, World, stanza};

#[test]
fn a_number_of_its_own_and_a_mark() {
    let mut world = World::new(Setup::default());
    let service = world.registry.service_named("ssh").unwrap().clone();
    let first = world.engine.admin_grant(world.now, &service, home4(0).ip(), SECOND * 60);
    assert_eq!((&*first.client, first.ttl), (ADMIN_NAME, SECOND * 60));
    // The store reserves numbers with the mark, so a mark is asked for.
    world.pump();
    assert!(world.store.mark > world.now.unix_ms);
    world.engine.adopt([(first.clone(), first.ttl)], world.now);
    // The client at that address has its own, whoever came first.
    world.go(0, &Ask::default(), home4(0));
    assert_ne!(world.opens[0].1.id, first.id);
    assert_eq!(world.engine.live_grants(), 2);
    // Again: the same one, longer. Elsewhere, or after its end: another one.
    let again = |world: &mut World, source| {
        world.engine.admin_grant(world.now, &service, source, SECOND * 60).id
    };
    assert_eq!(again(&mut world, home4(0).ip()), first.id);
    assert_ne!(again(&mut world, home6(0).ip()), first.id);
    world.pass(SECOND * 61);
    assert_ne!(again(&mut world, home4(0).ip()), first.id);
}

#[test]
fn what_was_closed_counts_no_more() {
    let one = Stanza { max_grants: Some(1), ..stanza() };
    let mut world = World::new(Setup { stanzas: vec![one], ..Setup::default() });
    world.go(0, &Ask::default(), home4(0));
    world.go(0, &Ask::service("web"), home4(0));
    assert_eq!(
        world.logged(),
        [(EventKind::Granted, Reason::None), (EventKind::Denied, Reason::MaxGrants)]
    );
    let client = world.opens[0].1.client.clone();
    assert_eq!(world.engine.live_grants_of(&client, world.now), 1);
    let id = world.opens[0].1.id;
    world.firewall.close(&[id]).unwrap();
    world.engine.forget(&HashSet::from([id]));
    assert_eq!(world.engine.live_grants_of(&client, world.now), 0);
    // The same service again is a new grant, not a renewal of what is gone; a second is one too
    // many as before.
    world.go(0, &Ask::default(), home4(0));
    world.go(0, &Ask::service("web"), home4(0));
    assert_eq!(
        world.logged(),
        [(EventKind::Granted, Reason::None), (EventKind::Denied, Reason::MaxGrants)]
    );
    assert_ne!(world.opens[1].1.id, id);
}
