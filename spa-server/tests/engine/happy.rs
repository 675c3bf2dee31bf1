//! What should open.

use spa_proto::{Reason, Status};
use spa_server::engine::EventKind;

use crate::actors::{Ask, home4, home6};
use crate::world::{SECOND, START, Setup, World};

#[test]
fn one_to_eight_stages_in_both_families() {
    for stages in 1..=8 {
        for source in [home4(1), home6(1)] {
            let mut world = World::new(Setup::stages(stages));
            let knock = world.go(1, &Ask::default(), source);
            let opened = ("client1".to_owned(), "ssh".to_owned(), source.ip(), 600);
            assert_eq!(world.openings(), [opened], "{stages} stages from {source}");
            assert_eq!(world.logged(), [(EventKind::Granted, Reason::None)]);
            assert_eq!(world.answers(&knock), [(source, Status::Granted, Reason::None)]);
            let counters = world.engine.counters();
            assert_eq!(
                (counters.stages, counters.granted, counters.ignored),
                (stages.into(), 1, 0)
            );
            assert_eq!(world.engine.live_grants(), 1);
        }
    }
}

#[test]
fn nothing_opens_before_the_last_stage() {
    let mut world = World::new(Setup::default());
    let knock = world.knock(0, &Ask::default());
    for stage in 0..2 {
        world.stage(&knock, stage, home4(0));
        assert!(world.opens.is_empty() && world.acks.is_empty() && world.log.is_empty());
        assert!(world.engine.in_sequence(home4(0).ip()));
    }
    world.stage(&knock, 2, home4(0));
    assert!(world.has_opened(&knock));
    assert!(!world.engine.in_sequence(home4(0).ip()));
}

#[test]
fn padding_of_every_kind() {
    let mut world = World::new(Setup::default());
    for padding in [vec![0, 1, 896], vec![896; 3], vec![17]] {
        let knock = world.go(0, &Ask { padding, ..Ask::default() }, home4(0));
        assert!(world.has_opened(&knock));
    }
}

/// A packet's ports and tags are those of its time stamp, whatever the minute in which it arrives.
#[test]
fn across_epoch_boundaries() {
    let table = [
        // (milliseconds after a hop epoch's start at which the session is made, delay of arrival)
        (59_999, 1),
        (59_990, 5_000),
        (599_999, 1),
        (599_000, 20_000),
        (600_000, 0),
        (0, 0),
    ];
    for (made, delay) in table {
        for hopping in [false, true] {
            let setup = if hopping { Setup::hopping() } else { Setup::default() };
            let mut world = World::new(Setup { start_ms: START + made, ..setup });
            let knock = world.knock(0, &Ask::default());
            world.stage(&knock, 0, home4(0));
            world.pass(std::time::Duration::from_millis(delay));
            world.stage(&knock, 1, home4(0));
            world.stage(&knock, 2, home4(0));
            assert!(world.has_opened(&knock), "made at {made}, {delay} late, hopping {hopping}");
            // A client whose clock is a little ahead is in the next epoch already.
            let early = world.knock_at(1, &Ask::default(), world.now.unix_ms + 9_000);
            world.whole(&early, home4(1));
            assert!(world.has_opened(&early));
        }
    }
}

#[test]
fn hopping_ports_change_and_old_ones_are_refused() {
    let mut world = World::new(Setup::hopping());
    let before = world.ports(world.now.unix_ms);
    world.pass(SECOND * 600);
    let now = world.now.unix_ms;
    assert_ne!(before, world.ports(now));
    let knock = world.actors[0].knock(&Ask::default(), &before, now);
    world.know(&knock);
    world.whole(&knock, home4(0));
    assert!(world.opens.is_empty());
    assert_eq!(world.engine.counters().wrong_port, 3);
    let right = world.go(0, &Ask::default(), home4(0));
    assert!(world.has_opened(&right));
}

#[test]
fn day_after_day() {
    let mut world = World::new(Setup::hopping());
    for _ in 0..50 {
        world.pass(SECOND * 1_777);
        let knock = world.go(2, &Ask::default(), home6(2));
        assert!(world.has_opened(&knock));
    }
    assert_eq!(world.engine.counters().granted, 50);
}
