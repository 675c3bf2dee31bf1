//! When the server speaks, and to whom.

use spa_proto::{Ack, Reason, Status};

use crate::actors::{Ask, elsewhere, home4, home6};
use crate::world::{SECOND, Setup, World, ms};

/// Each time, for half a minute: a quota is what copies would eat.
#[test]
fn a_repeated_last_stage_is_answered_for_half_a_minute() {
    for home in [home4(0), home6(0)] {
        for ask in [Ask::default(), Ask::bound(home)] {
            let mut world = World::new(Setup::default());
            let knock = world.go(0, &ask, home);
            let first = world.acks_to(&knock, home)[0];
            world.acks.clear();
            for stage in [0, 1] {
                world.stage(&knock, stage, home);
                assert_eq!(world.acks.len(), 0, "only the last stage is answered");
            }
            world.pass(ms(29_999));
            for round in 1..=100 {
                world.stage(&knock, 2, home);
                assert_eq!(world.acks.len(), round);
            }
            // The same word, told anew.
            let again = world.acks_to(&knock, home)[99];
            assert_eq!(again, Ack { server_ms: world.now.unix_ms, ..first });
            assert!(world.acks.iter().all(|(_, ack)| ack.len() < knock.packet(2).1.len()));
            world.pass(ms(1));
            world.stage(&knock, 2, home);
            assert_eq!(world.acks.len(), 100);
            assert_eq!(world.engine.counters().granted, 1);
        }
    }
}

/// The client waits for its answer; nobody waits for the log and the audit record.
#[test]
fn an_answer_is_sent_before_its_line_is_written() {
    for home in [home4(0), home6(0)] {
        for service in ["ssh", "nothing"] {
            let mut world = World::new(Setup::default());
            let ask = Ask { service, ..Ask::bound(home) };
            let knock = world.go(0, &ask, home);
            assert_eq!(world.acks_to(&knock, home).len(), 1);
            assert_eq!(world.log.len(), 1, "{:?}", world.log);
            assert_eq!(world.answered, [1]);
        }
    }
}

/// The latest 16 of a client; another client's do not count.
#[test]
fn sixteen_sessions_are_answered_again() {
    let mut world = World::new(Setup::default());
    let knocks: Vec<_> = (0..17).map(|_| world.go(0, &Ask::bound(home4(0)), home4(0))).collect();
    let other = world.go(1, &Ask::bound(home4(1)), home4(1));
    world.acks.clear();
    for knock in &knocks {
        world.stage(knock, 2, home4(0));
    }
    assert_eq!(world.acks.len(), 16);
    assert!(world.acks_to(&knocks[0], home4(0)).is_empty());
    world.stage(&other, 2, home4(1));
    assert_eq!(world.answers(&other).len(), 1);
}

#[test]
fn nobody_else_gets_the_answer_of_a_bound_session() {
    let mut world = World::new(Setup::default());
    let knock = world.go(0, &Ask::bound(home4(0)), home4(0));
    world.acks.clear();
    for stage in [2, 2, 1, 0, 2] {
        world.stage(&knock, stage, elsewhere());
    }
    assert!(world.acks.is_empty());
    world.stage(&knock, 2, home4(0));
    assert_eq!(world.answers(&knock), [(home4(0), Status::Granted, Reason::None)]);
}

/// Who sends an unbound session's last stage is told its own address, and let in nowhere.
#[test]
fn everybody_else_is_told_its_own_address() {
    let mut world = World::new(Setup::default());
    let knock = world.go(0, &Ask::default(), home4(0));
    world.acks.clear();
    for source in [elsewhere(), home6(5)] {
        for stage in [2, 1, 0] {
            world.stage(&knock, stage, source);
        }
        let [ack] = world.acks_to(&knock, source)[..] else { panic!("{:?}", world.acks) };
        assert_eq!((ack.observed, ack.number, ack.provisional), (source, 0, true));
    }
    assert_eq!((world.acks.len(), world.firewall.live.len()), (2, 1));
}

#[test]
fn unasked_or_switched_off_means_silence() {
    for (setup, ask) in [
        (Setup::default(), Ask::silent(home4(0))),
        (Setup { ack: false, ..Setup::default() }, Ask::default()),
    ] {
        let mut world = World::new(setup);
        let knock = world.go(0, &ask, home4(0));
        assert!(world.has_opened(&knock));
        world.whole(&knock, home4(0));
        let stale = world.knock_at(0, &ask, world.now.unix_ms - 40_000);
        world.whole(&stale, home4(0));
        let denied = world.go(0, &Ask { service: "other", ..ask }, home4(0));
        world.whole(&denied, home4(0));
        assert!(world.acks.is_empty());
        assert_eq!(world.engine.counters().denied, 1);
        assert_eq!(world.engine.counters().stale, 1);
    }
}

#[test]
fn a_stale_ack_tells_the_time() {
    for (off_ms, reason) in [
        (-30_001i64, Reason::Past),
        (-200_000, Reason::Past),
        (10_001, Reason::Future),
        (200_000, Reason::Future),
    ] {
        let mut world = World::new(Setup::default());
        let ts = world.now.unix_ms.checked_add_signed(off_ms).unwrap();
        let knock = world.knock_at(0, &Ask::default(), ts);
        world.whole(&knock, home4(0));
        assert!(world.opens.is_empty());
        let (to, bytes) = world.acks[0].clone();
        let (ack, _) = knock.session.open_ack(&bytes).unwrap();
        assert_eq!((to, ack.status, ack.reason), (home4(0), Status::Stale, reason));
        assert_eq!(ack.server_ms, world.now.unix_ms);
        assert_eq!(world.log.len(), 1);
        assert_eq!(world.log[0].skew_ms, off_ms);
        // Burned for ever, also when its time comes.
        world.pass(SECOND * 200);
        world.whole(&knock, home4(0));
        assert!(world.opens.is_empty());
    }
}

#[test]
fn both_ends_of_the_window_are_inside() {
    for off_ms in [-30_000i64, 10_000] {
        let mut world = World::new(Setup::default());
        let ts = world.now.unix_ms.checked_add_signed(off_ms).unwrap();
        let knock = world.knock_at(0, &Ask::default(), ts);
        world.whole(&knock, home4(0));
        assert!(world.has_opened(&knock), "{off_ms}");
    }
}

#[test]
fn switched_off_by_a_reload_means_silence_at_once() {
    let mut world = World::new(Setup::default());
    let knock = world.go(0, &Ask::default(), home4(0));
    assert_eq!(world.answers(&knock).len(), 1);
    let mut settings = world.settings.clone();
    settings.ack = false;
    world.reload(std::sync::Arc::clone(&world.registry), settings);
    world.stage(&knock, 2, home4(0));
    assert!(world.acks.is_empty());
}
