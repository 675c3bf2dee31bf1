//! Stages that are mixed up, late, missing, doubled.

use spa_proto::{Reason, Status};
use spa_server::engine::EventKind;

use crate::actors::{Ask, home4, home6};
use crate::world::{SECOND, START, Setup, World, ms};

fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in orders(n - 1) {
        for at in 0..=shorter.len() {
            let mut order = shorter.clone();
            order.insert(at, n - 1);
            all.push(order);
        }
    }
    all
}

#[test]
fn every_order_within_the_reorder_time_opens() {
    for stages in [3u16, 4] {
        for order in orders(stages.into()) {
            let mut world = World::new(Setup::stages(stages));
            let knock = world.knock(0, &Ask::default());
            for (nth, stage) in order.iter().enumerate() {
                assert!(world.opens.is_empty(), "{order:?} opened after {nth}");
                world.stage(&knock, *stage, home4(0));
                world.pass(ms(50));
            }
            assert!(world.has_opened(&knock), "{order:?}");
        }
    }
}

#[test]
fn held_too_long_opens_only_when_resent() {
    for order in orders(3) {
        if order == [0, 1, 2] {
            continue;
        }
        let mut world = World::new(Setup::default());
        let knock = world.knock(0, &Ask::default());
        for stage in &order {
            world.stage(&knock, *stage, home4(0));
            world.pass(ms(201));
        }
        assert!(world.opens.is_empty(), "{order:?}");
        // The client sends the same bytes again, in order.
        world.whole(&knock, home4(0));
        assert!(world.has_opened(&knock), "{order:?}");
        assert_eq!(world.logged(), [(EventKind::Granted, Reason::None)]);
    }
}

#[test]
fn exactly_the_reorder_time_is_in_time() {
    let mut world = World::new(Setup::stages(2));
    let knock = world.knock(0, &Ask::default());
    world.stage(&knock, 1, home4(0));
    world.pass(ms(200));
    world.stage(&knock, 0, home4(0));
    assert!(world.has_opened(&knock));
}

#[test]
fn a_stage_at_another_stages_port() {
    let mut world = World::new(Setup::default());
    let knock = world.knock(0, &Ask::default());
    for stage in 0..3 {
        for port in [7001, 7002, 7003, 7004, 0] {
            if port != knock.packet(stage).0 {
                world.datagram(knock.packet(stage).1, home4(0), port);
            }
        }
    }
    assert!(world.opens.is_empty());
    assert_eq!(world.actions, 0);
    assert_eq!(world.engine.counters().wrong_port, 12);
    world.whole(&knock, home4(0));
    assert!(world.has_opened(&knock));
}

#[test]
fn late_by_the_stage_timeout() {
    for (gap, opens) in [(ms(5_000), true), (ms(5_001), false)] {
        let mut world = World::new(Setup { timeout: ms(5_000), ..Setup::default() });
        let knock = world.knock(0, &Ask::default());
        for stage in 0..3 {
            world.stage(&knock, stage, home4(0));
            world.pass(gap);
        }
        assert_eq!(world.has_opened(&knock), opens, "{gap:?}");
    }
}

/// The whole session must fit the window, however patient the stages are.
#[test]
fn a_session_that_ends_outside_the_window_is_stale() {
    let mut world = World::new(Setup::default());
    let knock = world.knock(0, &Ask::default());
    world.stage(&knock, 0, home4(0));
    world.pass(SECOND * 20);
    world.stage(&knock, 1, home4(0));
    world.pass(SECOND * 20);
    world.stage(&knock, 2, home4(0));
    assert!(world.opens.is_empty());
    assert_eq!(world.logged(), [(EventKind::Stale, Reason::Past)]);
    assert_eq!(world.answers(&knock), [(home4(0), Status::Stale, Reason::Past)]);
}

#[test]
fn duplicates_change_nothing() {
    let mut world = World::new(Setup::stages(4));
    let knock = world.knock(0, &Ask::default());
    for stage in [0, 0, 2, 2, 0, 1, 1, 2, 0] {
        world.stage(&knock, stage, home4(0));
    }
    assert!(world.opens.is_empty());
    world.stage(&knock, 3, home4(0));
    assert_eq!(world.opens.len(), 1);
    world.whole(&knock, home4(0));
    assert_eq!(world.opens.len(), 1);
    assert_eq!(world.logged(), [(EventKind::Granted, Reason::None)]);
}

#[test]
fn strangers_between_the_stages() {
    let mut world = World::new(Setup::default());
    let knock = world.knock(0, &Ask::default());
    for stage in 0..3 {
        for junk in 0..50u8 {
            let bytes = vec![junk; 144 + usize::from(junk)];
            world.datagram(&bytes, home4(0), 7001 + u16::from(junk % 3));
            // Another client's knock from the same address is another session.
            if junk == 25 {
                let other = world.knock(1, &Ask::service("web"));
                world.stage(&other, 0, home4(0));
            }
        }
        world.stage(&knock, stage, home4(0));
    }
    assert!(world.has_opened(&knock));
    assert_eq!(world.opens.len(), 1);
}

/// A session whose time has run out is spent even before a tick notices: nobody can go on with it,
/// from anywhere.
#[test]
fn late_counts_without_a_tick() {
    let mut world = World::new(Setup { timeout: ms(5_000), ..Setup::default() });
    let knock = world.knock(0, &Ask::default());
    world.stage(&knock, 0, home4(0));
    world.now.mono += ms(5_001);
    world.now.unix_ms += 5_001;
    world.whole(&knock, home4(0));
    world.whole(&knock, home4(1));
    assert!(world.opens.is_empty());
    assert_eq!(
        world.logged(),
        [(EventKind::TimedOut, Reason::None), (EventKind::Replay, Reason::None)]
    );
}

#[test]
fn one_missing() {
    for missing in 0..3 {
        let mut world = World::new(Setup::default());
        let knock = world.knock(0, &Ask::default());
        for stage in (0..3).filter(|stage| *stage != missing) {
            world.stage(&knock, stage, home6(0));
        }
        assert!(world.opens.is_empty());
        world.pass(SECOND * 31);
        assert!(world.opens.is_empty());
        assert_eq!(world.logged(), [(EventKind::TimedOut, Reason::None)]);
        // Burned: the missing stage and the whole session come too late.
        world.whole(&knock, home6(0));
        world.whole(&knock, home6(0));
        assert!(world.opens.is_empty() && world.acks.is_empty());
        assert_eq!(world.logged(), [], "the client's own late packets are no attack");
    }
}

#[test]
fn the_firewall_hears_of_every_step() {
    let mut world = World::new(Setup { mark_sequence: true, ..Setup::stages(3) });
    let knock = world.knock(0, &Ask::default());
    world.stage(&knock, 0, home4(0));
    assert_eq!(world.in_sequence, [home4(0).ip()]);
    world.pass(SECOND * 20);
    // The next stage has its own time: the mark of the first would end before it.
    world.stage(&knock, 1, home4(0));
    assert_eq!(world.in_sequence, [home4(0).ip(); 2]);
    world.stage(&knock, 1, home4(0));
    world.stage(&knock, 2, home4(0));
    assert_eq!(world.in_sequence, [home4(0).ip(); 2]);
}

/// A stage is taken at its port of now or of before, and at no other stage's.
#[test]
fn previous_ports_are_taken_as_the_present_ones() {
    let mut world = World::new(Setup::default());
    let before = [8001, 8002, 7001];
    let mut settings = world.settings.clone();
    settings.sequence = settings.sequence.with_previous_ports(before.to_vec());
    let live = settings.sequence.live_ports(START, SECOND, SECOND);
    let ports: Vec<u16> = live.iter().map(|range| range.first).collect();
    assert_eq!(ports, [7001, 7002, 7003, 8001, 8002]);
    let registry = std::sync::Arc::clone(&world.registry);
    world.reload(registry, settings);
    for (ports, opens) in [
        ([7001, 7002, 7003], true),
        (before, true),
        ([8002, 8001, 7001], false),
        ([7001, 8001, 7003], false),
    ] {
        let knock = world.actors[0].knock(&Ask::default(), &ports, world.now.unix_ms);
        world.know(&knock);
        for stage in 0..3 {
            world.stage(&knock, stage, home4(0));
        }
        assert_eq!(world.has_opened(&knock), opens, "{ports:?}");
    }
}
