//! A client that is enrolled and means ill.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use spa_proto::{Op, Reason, Status};

use crate::actors::{Ask, home4, home6};
use crate::world::{SECOND, Setup, World};

/// Addresses that anything has been opened for.
fn opened_for(world: &World) -> BTreeSet<IpAddr> {
    world.openings().into_iter().map(|opening| opening.2).collect()
}

/// Every way to name another's address, from one's own: bound to it, for it, confirmed for it.
#[test]
fn a_client_opens_only_for_where_it_can_send_from() {
    for (own, victim) in [(home4(0), home4(7)), (home6(0), home6(7))] {
        let mut world = World::new(Setup::default());
        let bound = world.go(0, &Ask::bound(victim), own);
        let third = Ask { for_addr: Some(victim.ip()), ..Ask::default() };
        let third = world.go(0, &third, own);
        assert_eq!(world.answers(&third), [(own, Status::Denied, Reason::ForAddr)]);
        let unbound = world.go(0, &Ask::default(), own);
        for number in 1..=8 {
            world.confirm_from(&unbound, number, victim.ip(), own);
        }
        assert_eq!(opened_for(&world), BTreeSet::from([own.ip()]));
        // In the victim's name it is as good as the victim: the threat model says so.
        world.whole(&bound, victim);
        assert_eq!(opened_for(&world), BTreeSet::from([own.ip(), victim.ip()]));
    }
}

/// Whatever it asks for, and as fast as it can: a line or two for each session that its budget
/// lets it begin.
#[test]
fn its_lines_are_bounded_by_its_budget() {
    const SECONDS: u64 = 20;
    let mut world = World::new(Setup::stages(1));
    let (own, far): (SocketAddr, SocketAddr) = (home4(0), home4(9));
    let mut lines = 0;
    for _ in 0..SECONDS {
        for i in 0..50u32 {
            let ask = match i % 5 {
                0 => Ask::default(),
                1 => Ask::service("other"),
                2 => Ask { op: Op::Close, ..Ask::bound(own) },
                3 => Ask { ttl_s: 65_535, ..Ask::default() },
                _ => Ask { for_addr: Some(far.ip()), ..Ask::default() },
            };
            let from = if i % 2 == 0 { own } else { far };
            let late = if i % 7 == 0 { 100_000 } else { 0 };
            let knock = world.knock_at(0, &ask, world.now.unix_ms - late);
            world.whole(&knock, from);
            world.confirm(&knock, 1, from);
            world.confirm(&knock, 2, from);
        }
        world.pass(SECOND);
        lines += world.logged().len() as u64;
    }
    // Two buckets of 128, and ten a second into each; beginning and end of what each opens.
    let sessions = 2 * (128 + 10 * SECONDS);
    assert!(world.engine.counters().over_budget > 0);
    assert!((100..=2 * sessions).contains(&lines), "{lines} lines of {sessions} sessions");
    let other = world.go(1, &Ask::default(), home4(1));
    assert!(world.has_opened(&other));
}
