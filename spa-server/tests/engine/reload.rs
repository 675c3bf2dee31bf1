//! Knocks that are under way while the configuration is read anew.

use spa_proto::{Reason, Status};
use spa_server::engine::Registry;

use crate::actors::{Actor, Ask, home4};
use crate::world::{Setup, World, server_secret, services};

/// A reload in the middle of a knock, or while the disk writes, costs nobody the knock; the
/// client's number may be another.
#[test]
fn reload_while_a_knock_is_under_way() {
    for stages_before in 0..=3 {
        let mut world = World::new(Setup::default());
        world.store.held = Some(Vec::new());
        let knock = world.knock(1, &Ask::default());
        world.know(&knock);
        for stage in 0..stages_before {
            world.stage(&knock, stage, home4(1));
        }
        let fewer: Vec<_> = world.actors.iter().skip(1).map(Actor::enrolled).collect();
        let registry = Registry::new(server_secret(), services(), fewer).unwrap();
        let settings = world.settings.clone();
        world.reload(std::sync::Arc::new(registry), settings);
        for stage in stages_before..3 {
            world.stage(&knock, stage, home4(1));
        }
        world.release_store();
        assert!(world.has_opened(&knock), "after {stages_before} stages");
        assert_eq!(world.answers(&knock), [(home4(1), Status::Granted, Reason::None)]);
    }
}

/// What was proved to a key that is not enrolled any more, or by other stages, opens nothing.
#[test]
fn reload_forgets_what_was_proved_to_others() {
    for replaced in [true, false] {
        for stages_before in 1..=3 {
            let mut world = World::new(Setup::default());
            world.store.held = Some(Vec::new());
            let knock = world.knock(0, &Ask::default());
            world.know(&knock);
            for stage in 0..stages_before {
                world.stage(&knock, stage, home4(0));
            }
            let mut clients: Vec<_> = world.actors.iter().map(Actor::enrolled).collect();
            let other = clients[1].public;
            if replaced {
                // Another key under the same name.
                clients.remove(1);
                clients[0].public = other;
            } else {
                clients.remove(0);
            }
            let registry = Registry::new(server_secret(), services(), clients).unwrap();
            let settings = world.settings.clone();
            world.reload(std::sync::Arc::new(registry), settings);
            for stage in stages_before..3 {
                world.stage(&knock, stage, home4(0));
            }
            world.release_store();
            assert!(!world.has_opened(&knock), "replaced {replaced}, after {stages_before} stages");
        }
    }
}
