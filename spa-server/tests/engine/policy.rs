//! Every rule of a stanza says no by its name, in log and ack.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use spa_proto::{Op, Reason, Status};
use spa_server::config::Hours;
use spa_server::engine::{EventKind, Registry, Stanza};

use crate::actors::{Ask, addr, home4, home6};
use crate::world::{SECOND, START, Setup, World, server_secret, services, stanza};

fn refused(stanza: Stanza, ask: Ask, reason: Reason) {
    for source in [home4(0), home6(0)] {
        let mut world = World::new(Setup::with(stanza.clone()));
        let knock = world.go(0, &ask, source);
        assert!(world.opens.is_empty(), "{reason:?}");
        assert_eq!(world.logged(), [(EventKind::Denied, reason)]);
        assert_eq!(world.answers(&knock), [(source, Status::Denied, reason)]);
        assert_eq!(world.engine.counters().denied, 1);
        // Spent all the same.
        world.whole(&knock, source);
        assert_eq!(world.logged(), []);
    }
}

#[test]
fn service() {
    refused(stanza(), Ask::service("other"), Reason::Service);
    refused(stanza(), Ask::service("no such"), Reason::Service);
    refused(Stanza::default(), Ask::default(), Reason::Service);
}

/// Authentic, and not for a client like this one: nothing opens, closes or changes.
#[test]
fn ops_that_it_may_not() {
    refused(stanza(), Ask::op(Op::Enrol), Reason::Op);
    for op in [Op::Open, Op::Renew] {
        for address in ["198.51.100.9", "2001:db8::9"] {
            refused(stanza(), Ask::for_addr(op, address.parse().unwrap()), Reason::ForAddr);
        }
    }
}

#[test]
fn expired() {
    for expires in [0, START, START + 5_000] {
        refused(Stanza { expires_ms: Some(expires), ..stanza() }, Ask::default(), Reason::Expired);
    }
}

#[test]
fn hours() {
    // Noon in UTC.
    for (text, open) in
        [("Mon 11:00-13:00", true), ("Mon 13:00-14:00", false), ("Tue 00:00-24:00", false)]
    {
        let stanza =
            Stanza { hours: Some(Hours::parse(text, &TimeZone::UTC).unwrap()), ..stanza() };
        if open {
            let mut world = World::new(Setup::with(stanza));
            let knock = world.go(0, &Ask::default(), home4(0));
            assert!(world.has_opened(&knock));
        } else {
            refused(stanza, Ask::default(), Reason::Hours);
        }
    }
}

#[test]
fn from() {
    let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    refused(
        Stanza { from: nets(&["10.0.0.0/8", "fd00::/8"]), ..stanza() },
        Ask::default(),
        Reason::From,
    );
    for source in [home4(0), home6(0)] {
        let from = nets(&["192.0.2.0/24", "2001:db8::/32"]);
        let mut world = World::new(Setup::with(Stanza { from, ..stanza() }));
        let knock = world.go(0, &Ask::default(), source);
        assert!(world.has_opened(&knock));
    }
}

#[test]
fn ttl() {
    refused(stanza(), Ask::ttl(1801), Reason::Ttl);
    refused(
        Stanza { max_ttl: Some(Duration::from_secs(60)), ..stanza() },
        Ask::ttl(61),
        Reason::Ttl,
    );
    let own = Stanza { ttl: Some(Duration::from_secs(42)), ..stanza() };
    let narrow = Stanza { max_ttl: Some(Duration::from_secs(7)), ..stanza() };
    for (stanza, asked, given) in [
        (stanza(), 0, 600),
        (stanza(), 1, 1),
        (stanza(), 1800, 1800),
        (own.clone(), 0, 42),
        (own, 600, 600),
        (narrow.clone(), 0, 7),
        (narrow, 7, 7),
    ] {
        let mut world = World::new(Setup::with(stanza));
        let knock = world.go(0, &Ask::ttl(asked), home4(0));
        assert_eq!(world.openings()[0].3, given);
        let (ack, _) = knock.session.open_ack(&world.acks[0].1).unwrap();
        assert_eq!(u64::from(ack.ttl_s), given);
    }
}

#[test]
fn a_grant_never_outlives_its_stanza() {
    for left in [1_000, 1_001, 30_000, 599_999, 600_000, 600_001] {
        let expires_ms = Some(START + 5_000 + left);
        let mut world = World::new(Setup::with(Stanza { expires_ms, ..stanza() }));
        world.go(0, &Ask::default(), home4(0));
        assert_eq!(world.opens[0].1.ttl, Duration::from_millis(left.min(600_000)));
    }
}

#[test]
fn max_grants() {
    let mut world = World::new(Setup::with(Stanza { max_grants: Some(2), ..stanza() }));
    world.go(0, &Ask::default(), home4(0));
    world.go(0, &Ask::default(), home4(1));
    let third = world.go(0, &Ask::default(), home4(2));
    assert_eq!(world.opens.len(), 2);
    let answers = world.answers(&third);
    assert_eq!(answers, [(home4(2), Status::Denied, Reason::MaxGrants)]);
    // Renewing is not one more.
    world.pass(SECOND * 300);
    let renewal = world.go(0, &Ask::default(), home4(0));
    assert!(world.has_opened(&renewal));
    // The other one has ended.
    world.pass(SECOND * 301);
    let third = world.go(0, &Ask::default(), home4(2));
    assert!(world.has_opened(&third));
    refused(Stanza { max_grants: Some(0), ..stanza() }, Ask::default(), Reason::MaxGrants);
}

/// A grant lasts a second at least: what is left of the stanza is less.
#[test]
fn the_last_second_of_a_stanza_is_too_short() {
    for left in [1, 300, 999] {
        let expires_ms = Some(START + 5_000 + left);
        refused(Stanza { expires_ms, ..stanza() }, Ask::default(), Reason::Expired);
    }
}

#[test]
fn a_wider_grant_for_a_carrier() {
    let wide = Stanza { prefix_v4: Some(24), prefix_v6: Some(64), max_grants: Some(2), ..stanza() };
    let mut world = World::new(Setup::with(wide));
    world.go(0, &Ask::default(), addr("192.0.2.1:5000"));
    world.go(0, &Ask::default(), addr("[2001:db8::1]:5000"));
    let networks = |world: &World| -> Vec<String> {
        world.firewall.live.values().map(|(grant, _)| grant.network().to_string()).collect()
    };
    assert_eq!(networks(&world), ["192.0.2.0/24", "2001:db8::/64"]);
    // From elsewhere in the network it is the same grant, and no more of them.
    world.go(0, &Ask::default(), addr("192.0.2.200:5000"));
    world.go(0, &Ask::default(), addr("[2001:db8::ffff:1]:5000"));
    assert_eq!(networks(&world), ["192.0.2.0/24", "2001:db8::/64"]);
    let kinds: Vec<_> = world.logged().into_iter().map(|(kind, _)| kind).collect();
    use EventKind::{Granted, Renewed};
    assert_eq!(kinds, [Granted, Granted, Renewed, Renewed]);
    let third = world.go(0, &Ask::default(), addr("192.0.3.1:5000"));
    assert!(!world.has_opened(&third));
    // A close from anywhere within ends it.
    world.go(0, &Ask::close("ssh"), addr("192.0.2.77:5000"));
    world.go(0, &Ask::close("ssh"), addr("[2001:db8:0:0:1::]:5000"));
    assert_eq!(networks(&world), [""; 0]);
}

/// Narrowed by a reload: the wide grant is not renewed, and closes with the narrow one.
#[test]
fn a_prefix_that_changes() {
    let wide = Stanza { prefix_v4: Some(24), ..stanza() };
    let mut world = World::new(Setup::with(wide));
    world.go(0, &Ask::default(), home4(0));
    let mut client = world.actors[0].enrolled();
    client.stanza.prefix_v4 = Some(32);
    let registry = Registry::new(server_secret(), services(), [client]).unwrap();
    let settings = world.settings.clone();
    world.reload(Arc::new(registry), settings);
    world.go(0, &Ask::default(), home4(0));
    let networks: Vec<_> =
        world.opens.iter().map(|(_, grant)| grant.network().to_string()).collect();
    assert_eq!(networks, ["192.0.2.0/24", "192.0.2.1/32"]);
    world.go(0, &Ask::close("ssh"), home4(0));
    assert!(world.firewall.live.is_empty());
}
