//! Wall clocks that jump.

use std::time::Duration;

use spa_proto::Reason;
use spa_server::engine::{ClockStep, EventKind};

use crate::actors::{Ask, elsewhere, home4};
use crate::world::{SECOND, Setup, Stop, World};

const HOUR: i64 = 3_600_000;
/// Longer than the fence that an unknown past leaves: the reach of 10 s, and a second.
const AFTER_FENCE: Duration = Duration::from_secs(12);

/// Back by an hour, and the old knock's minute comes round again: refused all the way.
#[test]
fn back_an_hour_and_forth_again() {
    let mut world = World::new(Setup::default());
    let knock = world.go(0, &Ask::default(), home4(0));
    world.pass(SECOND * 120);
    world.wall(-HOUR);
    for _ in 0..70 {
        world.pass(SECOND * 60);
        world.whole(&knock, home4(0));
        world.whole(&knock, elsewhere());
    }
    assert_eq!(world.opens.len(), 1);
    world.wall(HOUR);
    world.whole(&knock, home4(0));
    assert_eq!(world.opens.len(), 1);
    // A wall clock that runs ahead may be that of a machine that was put back: nothing is known of
    // before, and everybody waits for the reach of time stamps and a second.
    assert_eq!(
        world.clock_steps,
        [ClockStep::Back(HOUR.unsigned_abs()), ClockStep::Ahead(HOUR.unsigned_abs())]
    );
    let eager = world.go(0, &Ask::default(), home4(0));
    let told = world.acks_to(&eager, home4(0))[0];
    assert_eq!((told.reason, told.ttl_s), (Reason::Fence, 12));
    world.pass(AFTER_FENCE);
    let fresh = world.go(0, &Ask::default(), home4(0));
    assert!(world.has_opened(&fresh));
}

/// P8: server and client had a clock that was ahead by an hour, then the server crashed and both
/// were corrected. Nobody waits for the hour to come again once an administrator has looked.
#[test]
fn p8_a_clock_that_was_ahead_is_accepted() {
    let mut world = World::new(Setup::default());
    world.wall(HOUR);
    world.pass(AFTER_FENCE);
    let ahead = world.go(0, &Ask::default(), home4(0));
    assert!(world.has_opened(&ahead));
    assert_eq!(world.engine.clock_behind(world.now), None);
    world.restart(Stop::Crash);
    world.wall(-HOUR);
    let behind = world.engine.clock_behind(world.now).unwrap();
    assert!(behind > Duration::from_secs(3590) && behind < Duration::from_secs(3630), "{behind:?}");
    world.pass(SECOND * 60);
    let refused = world.go(1, &Ask::default(), home4(1));
    assert_eq!(world.acks_to(&refused, home4(1))[0].reason, Reason::Fence);

    world.accept_clock();
    assert_eq!(world.engine.clock_behind(world.now), None);
    world.whole(&refused, home4(1));
    let eager = world.go(1, &Ask::default(), home4(1));
    assert!(!world.has_opened(&refused) && !world.has_opened(&eager), "behind a new fence");
    world.pass(AFTER_FENCE);
    let fresh = world.go(1, &Ask::default(), home4(1));
    assert!(world.has_opened(&fresh));
    // It holds over a crash, which costs what every crash costs.
    world.restart(Stop::Crash);
    assert_eq!(world.engine.clock_behind(world.now), None);
    for knock in [&refused, &eager, &fresh] {
        world.whole(knock, home4(1));
    }
    let left = world.engine.fence_left(world.now);
    assert!(left <= SECOND * 30, "{left:?}");
    world.pass(left + SECOND);
    let fresh = world.go(1, &Ask::default(), home4(1));
    assert!(world.has_opened(&fresh));
    assert_eq!(world.opens.len(), 3);
}

/// P8: a client whose many knocks were made by a clock that was ahead has a floor there, and
/// nobody else.
#[test]
fn p8_a_floor_ahead_is_lifted() {
    let mut world = World::new(Setup::default());
    world.wall(HOUR);
    world.pass(AFTER_FENCE);
    for _ in 0..1030 {
        world.go(0, &Ask::silent(home4(0)), home4(0));
        world.pass(Duration::from_millis(100));
    }
    world.wall(-HOUR);
    let of_others = world.go(1, &Ask::default(), home4(1));
    assert!(world.has_opened(&of_others));
    let refused = world.go(0, &Ask::default(), home4(0));
    assert_eq!(world.acks_to(&refused, home4(0))[0].reason, Reason::Floor);
    assert!(world.engine.clock_behind(world.now).is_some());
    world.accept_clock();
    assert_eq!(world.engine.clock_behind(world.now), None);
    world.pass(AFTER_FENCE);
    let fresh = world.go(0, &Ask::default(), home4(0));
    assert!(world.has_opened(&fresh));
    world.whole(&refused, home4(0));
    assert!(!world.has_opened(&refused));
}

/// Whoever holds a copy waits until it is no longer remembered, and sends it for the first time
/// when a clock that was set back comes to its minute again.
#[test]
fn a_patient_replay() {
    for stop in [None, Some(Stop::Clean), Some(Stop::Crash)] {
        let mut world = World::new(Setup::default());
        let knock = world.go(0, &Ask::default(), home4(0));
        world.pass(SECOND * 600);
        world.wall(-600_000);
        if let Some(stop) = stop {
            world.restart(stop);
        }
        world.acks.clear();
        world.whole(&knock, elsewhere());
        world.whole(&knock, home4(0));
        assert_eq!(world.opens.len(), 1, "{stop:?}");
        if stop == Some(Stop::Crash) {
            assert!(!world.acks.is_empty(), "every stale is answered");
            assert!(world.all_stale(&[&knock], &[Reason::Fence]));
        } else {
            // Its id is known as long as there is room, whatever the clock says.
            assert!(world.acks.is_empty());
        }
    }
}

#[test]
fn many_small_steps_back() {
    let mut world = World::new(Setup::default());
    let mut old = Vec::new();
    for _ in 0..30 {
        old.push(world.go(0, &Ask::default(), home4(0)));
        world.pass(SECOND * 40);
        world.wall(-20_000);
        for knock in &old {
            world.whole(knock, elsewhere());
        }
    }
    assert_eq!(world.opens.len(), 30);
}

/// A wall clock that was ahead for a moment locks nobody out, not even after a restart, once it is
/// right again.
#[test]
fn ahead_for_a_moment() {
    for stop in [None, Some(Stop::Clean), Some(Stop::Crash)] {
        let mut world = World::new(Setup::default());
        let before = world.go(0, &Ask::default(), home4(0));
        world.wall(HOUR);
        world.pass(SECOND * 600);
        // A client with the right clock is stale meanwhile.
        let honest = world.knock_at(1, &Ask::default(), world.now.unix_ms - HOUR as u64);
        world.whole(&honest, home4(1));
        assert!(!world.has_opened(&honest));
        world.wall(-HOUR);
        if let Some(stop) = stop {
            world.restart(stop);
        }
        if stop == Some(Stop::Crash) {
            world.pass(AFTER_FENCE);
        }
        for client in 0..3 {
            let fresh = world.go(client, &Ask::default(), home4(client));
            assert!(world.has_opened(&fresh), "{stop:?}");
        }
        world.whole(&before, elsewhere());
        assert_eq!(world.opens.len(), 4);
    }
}

/// One client's clock was wrong together with ours: its own floor may be ahead, the others' are
/// not.
#[test]
fn a_floor_is_one_clients_own() {
    let mut world = World::new(Setup::default());
    world.wall(HOUR);
    let wrong = world.go(0, &Ask::default(), home4(0));
    assert!(world.has_opened(&wrong));
    world.wall(-HOUR);
    world.pass(SECOND * 600);
    for client in [1, 2] {
        let fresh = world.go(client, &Ask::default(), home4(client));
        assert!(world.has_opened(&fresh));
    }
}

#[test]
fn restart_with_the_clock_set_back() {
    for stop in [Stop::Clean, Stop::Crash] {
        let mut world = World::new(Setup::default());
        let knock = world.go(0, &Ask::default(), home4(0));
        world.wall(-HOUR);
        world.restart(stop);
        for _ in 0..65 {
            world.pass(SECOND * 60);
            world.whole(&knock, elsewhere());
            world.whole(&knock, home4(0));
        }
        assert_eq!(world.opens.len(), 1);
        world.pass(SECOND * 60);
        let fresh = world.go(0, &Ask::default(), home4(0));
        assert!(world.has_opened(&fresh));
    }
}

/// What is left of the fence is told to whoever asks, also with a copy from before the start.
#[test]
fn the_fence_tells_its_clients_how_long() {
    for stop in [Stop::Crash, Stop::StoreLost] {
        let mut world = World::new(Setup::default());
        let old = world.go(0, &Ask::default(), home4(0));
        world.pass(SECOND);
        world.logged();
        world.acks.clear();
        world.restart(stop);
        world.whole(&old, elsewhere());
        assert_eq!(world.acks_to(&old, elsewhere()).len(), 2, "at once, and at the last stage");
        assert!(world.all_stale(&[&old], &[Reason::Fence]));
        assert_eq!(world.logged(), [(EventKind::Stale, Reason::Fence)]);
        world.pass(SECOND);
        let eager = world.go(0, &Ask::default(), home4(0));
        let (ack, _) = eager.session.open_ack(&world.acks[0].1).unwrap();
        assert_eq!(ack.reason, Reason::Fence);
        assert!(!world.has_opened(&eager));
        world.pass(SECOND * u32::from(ack.ttl_s));
        let patient = world.go(0, &Ask::default(), home4(0));
        assert!(world.has_opened(&patient), "the wait that was told is enough");
    }
}

/// A machine that starts in the past with an empty disk and learns the time afterwards: the knocks
/// from before its start are as old as they were.
#[test]
fn set_forward_after_a_start_without_a_store() {
    for stop in [None, Some(Stop::Clean), Some(Stop::Crash)] {
        let mut world = World::new(Setup::default());
        let knock = world.go(0, &Ask::default(), home4(0));
        world.wall(-HOUR);
        world.restart(Stop::StoreLost);
        world.pass(SECOND);
        world.wall(HOUR);
        world.whole(&knock, elsewhere());
        if let Some(stop) = stop {
            world.restart(stop);
        }
        world.acks.clear();
        for source in [home4(0), elsewhere()] {
            world.whole(&knock, source);
        }
        assert_eq!(world.opens.len(), 1, "{stop:?}");
        assert!(world.all_stale(&[&knock], &[Reason::Fence]), "{stop:?}");
        world.pass(SECOND * 20);
        let fresh = world.go(0, &Ask::default(), home4(0));
        assert!(world.has_opened(&fresh), "{stop:?}");
    }
}
