//! A knock works once: not again at once, later, from elsewhere, after any kind of restart.

use spa_proto::{Reason, Status};
use spa_server::engine::EventKind;

use crate::actors::{Ask, Knock, elsewhere, home4, home6};
use crate::world::{SECOND, Setup, Stop, World, ms};

fn replay_everywhere(world: &mut World, knock: &Knock) {
    let opens = world.opens.len();
    for source in [home4(0), elsewhere(), home6(5)] {
        world.whole(knock, source);
        for stage in (0..3).rev() {
            world.stage(knock, stage, source);
        }
    }
    assert_eq!(world.opens.len(), opens);
}

#[test]
fn at_once_and_ever_after() {
    for ask in [Ask::default(), Ask::bound(home4(0))] {
        let mut world = World::new(Setup::default());
        let knock = world.go(0, &ask, home4(0));
        world.logged();
        world.acks.clear();
        let mut passed = 0;
        for wait in [0, 1, 5, 23, 1, 30, 31, 60, 300, 301, 361, 600, 601, 1801, 86_400] {
            replay_everywhere(&mut world, &knock);
            // Answered for half a minute; a bound session tells its own address only.
            let told: std::collections::HashSet<_> = world.acks.drain(..).map(|a| a.0).collect();
            let bound = ask.bind_src.is_some();
            let expected = if passed >= 30 {
                0
            } else if bound {
                1
            } else {
                3
            };
            assert_eq!(told.len(), expected, "after {passed} s");
            assert!(!bound || told.iter().all(|to| *to == home4(0)));
            assert_eq!(world.firewall.live.len(), usize::from(passed < 600));
            world.pass(SECOND * wait);
            passed += wait;
        }
        assert_eq!(world.logged(), [(EventKind::Replay, Reason::None)]);
    }
}

#[test]
fn a_clean_restart_costs_nothing() {
    let mut world = World::new(Setup::default());
    world.go(0, &Ask::default(), home4(0));
    world.restart(Stop::Clean);
    assert_eq!(world.engine.fence_left(world.now), ms(0));
    let fresh = world.go(0, &Ask::default(), home4(0));
    assert!(world.has_opened(&fresh));
}

#[test]
fn a_crash_fence_survives_a_clean_restart() {
    let mut world = World::new(Setup::default());
    let knock = world.go(0, &Ask::default(), home4(0));
    world.restart(Stop::Crash);
    world.restart(Stop::Clean);
    world.restart(Stop::Clean);
    replay_everywhere(&mut world, &knock);
}

#[test]
fn after_a_reload() {
    let mut world = World::new(Setup::default());
    let knock = world.go(0, &Ask::default(), home4(0));
    let (registry, settings) = (std::sync::Arc::clone(&world.registry), world.settings.clone());
    world.reload(registry, settings);
    replay_everywhere(&mut world, &knock);
    let fresh = world.go(0, &Ask::default(), home4(0));
    assert!(world.has_opened(&fresh));
}

/// More knocks than are remembered one by one: what is evicted stays refused, and a session that is
/// not older than the evicted ones still opens.
#[test]
fn eviction_at_the_cap() {
    let mut world = World::new(Setup::stages(1));
    let mut first = Vec::new();
    for i in 0..1100u64 {
        let knock = world.go(0, &Ask::silent(home4(0)), home4(0));
        assert!(world.has_opened(&knock), "{i}");
        if i < 80 {
            first.push(knock);
        }
        world.pass(ms(100));
    }
    world.logged();
    // The window ends long before: a clock that goes back opens it again, and the floor shuts it.
    world.wall(-110_000);
    for knock in &first {
        world.stage(knock, 0, elsewhere());
    }
    assert_eq!(world.opens.len(), 1100);
    assert!(world.acks.is_empty());
    world.wall(110_000);
    world.pass(SECOND * 12);
    let other = world.go(1, &Ask::default(), home4(1));
    assert!(world.has_opened(&other));
}

#[test]
fn refused_sessions_are_spent_too() {
    let mut world = World::new(Setup::default());
    let future = world.knock_at(0, &Ask::default(), world.now.unix_ms + 60_000);
    world.whole(&future, home4(0));
    // At once, and again when the last stage comes.
    assert_eq!(world.answers(&future), [(home4(0), Status::Stale, Reason::Future); 2]);
    for _ in 0..12 {
        world.pass(SECOND * 10);
        replay_everywhere(&mut world, &future);
    }
    assert!(world.opens.is_empty());
}

/// Sessions ahead of the window do not become a floor before older ones: the client whose clock is
/// right gets in.
#[test]
fn a_clock_ahead_does_not_lock_its_own_client_out_at_the_cap() {
    let mut world = World::new(Setup::stages(1));
    let ahead = world.knock_at(0, &Ask::silent(home4(0)), world.now.unix_ms + 200_000);
    world.whole(&ahead, home4(0));
    for i in 0..1300u64 {
        let knock = world.go(0, &Ask::silent(home4(0)), home4(0));
        assert!(world.has_opened(&knock), "{i}");
        world.pass(ms(100));
    }
    // Its own time comes, and it is spent still.
    world.pass(ms(72_000));
    world.whole(&ahead, home4(0));
    assert!(!world.has_opened(&ahead));
}

/// What has left the used-set by its age makes no room scarce for what is in it.
#[test]
fn entries_that_have_ended_do_not_count_against_the_cap() {
    let mut world = World::new(Setup::stages(1));
    // Kept longest of all.
    let ahead = world.knock_at(0, &Ask::silent(home4(0)), world.now.unix_ms + 250_000);
    world.whole(&ahead, home4(0));
    for _ in 0..1000 {
        let knock = world.go(0, &Ask::silent(home4(0)), home4(0));
        assert!(world.has_opened(&knock));
        world.pass(ms(100));
    }
    world.pass(SECOND * 370);
    for _ in 0..100 {
        let knock = world.go(0, &Ask::silent(home4(0)), home4(0));
        assert!(world.has_opened(&knock));
        world.pass(ms(100));
    }
}

/// The order of a restored set is the order of time stamps: a second device with the same key, some
/// seconds behind, is not shut out by a floor that rose too far.
#[test]
fn eviction_after_a_restart() {
    let mut world = World::new(Setup::stages(1));
    let mut device = None;
    for i in 0..1024 {
        if i == 760 {
            device = Some(world.knock(0, &Ask::default()));
        }
        let knock = world.go(0, &Ask::silent(home4(0)), home4(0));
        assert!(world.has_opened(&knock), "{i}");
        world.pass(ms(100));
    }
    world.restart(Stop::Clean);
    for _ in 0..20 {
        world.go(0, &Ask::silent(home4(0)), home4(0));
        world.pass(ms(100));
    }
    let device = device.unwrap();
    world.whole(&device, home4(0));
    assert!(world.has_opened(&device));
}

#[test]
fn used_ids_survive_restarts() {
    let mut world = World::new(Setup::default());
    let knock = world.go(0, &Ask::default(), home4(0));
    let later = world.go(0, &Ask::default(), home4(0));
    world.pass(SECOND * 400);
    world.acks.clear();
    world.logged();
    world.wall(-400_000);
    world.restart(Stop::Clean);
    for _ in 0..3 {
        world.whole(&knock, elsewhere());
        world.whole(&later, home6(3));
        world.whole(&later, elsewhere());
    }
    assert_eq!(world.opens.len(), 2);
    assert_eq!(world.logged(), [(EventKind::Replay, Reason::None); 2], "once per session");
    assert!(world.acks.is_empty());
}

/// The floor that is told is the way to it, and it survives a restart.
#[test]
fn a_floor_survives_restarts() {
    let mut world = World::new(Setup::stages(1));
    let first = world.go(0, &Ask::silent(home4(0)), home4(0));
    // A copy of what was evicted has no id any more, and its time stamp is the floor.
    for _ in 0..1024 {
        world.pass(ms(100));
        let knock = world.go(0, &Ask::silent(home4(0)), home4(0));
        assert!(world.has_opened(&knock));
    }
    world.logged();
    let back = i64::try_from(world.now.unix_ms - first.session.ts_ms()).unwrap();
    world.wall(-back - 3000);
    world.restart(Stop::Clean);
    world.whole(&first, home4(0));
    assert_eq!(world.opens.len(), 1025);
    assert_eq!(world.logged(), [(EventKind::Stale, Reason::Floor)]);
    let slow = world.go(0, &Ask::default(), home4(0));
    let [told] = world.acks_to(&slow, home4(0))[..] else { panic!("no answer") };
    // The refused knock took a place itself: the floor is a tenth of a second further.
    assert_eq!((told.reason, told.ttl_s), (Reason::Floor, 4));
}

#[test]
fn after_every_kind_of_restart() {
    for stop in [Stop::Clean, Stop::Crash, Stop::StoreLost] {
        for down in [0, 1, 20, 60, 400] {
            let mut world = World::new(Setup::default());
            let knock = world.go(0, &Ask::default(), home4(0));
            let half = world.knock(0, &Ask::default());
            world.stage(&half, 0, home4(0));
            world.acks.clear();
            world.now.mono += SECOND * down;
            world.now.unix_ms += u64::from(down) * 1000;
            world.restart(stop);
            for _ in 0..5 {
                replay_everywhere(&mut world, &knock);
                world.pass(ms(9_999));
            }
            // A second and a third restart forget nothing.
            world.restart(Stop::Crash);
            replay_everywhere(&mut world, &knock);
            world.restart(Stop::Clean);
            replay_everywhere(&mut world, &knock);
            // What the server knows to be used is silent, what it must assume to be is told.
            assert!(world.all_stale(&[&knock], &[Reason::Fence, Reason::Past]), "{stop:?}, {down}");
            world.pass(SECOND * 20);
            let fresh = world.go(0, &Ask::default(), home4(0));
            assert!(world.has_opened(&fresh), "{stop:?}");
        }
    }
}
