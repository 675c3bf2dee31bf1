//! CONFIRM: who keeps what an unbound knock opens. Attack P1, and `docs/protocol.md` on ended
//! sessions, rule by rule.

use std::net::{IpAddr, SocketAddr};

use spa_proto::{Ack, Confirm, Reason, Status, epoch_of};
use spa_server::engine::{EventKind, Settings, Stanza, live_epochs};

use crate::actors::{Ask, Knock, addr, elsewhere, home4, home6};
use crate::world::{SECOND, Setup, World, ms, stanza};

/// Somebody beside the client's way, in its family: sees and copies, may be faster.
fn copier(home: SocketAddr) -> SocketAddr {
    if home.is_ipv4() { elsewhere() } else { addr("[2001:db8:bad::7]:6000") }
}

/// Another address of the same client.
fn moved(home: SocketAddr) -> SocketAddr {
    if home.is_ipv4() { home4(100) } else { addr("[2001:db8:7::1]:5000") }
}

fn homes() -> [SocketAddr; 2] {
    [home4(0), home6(0)]
}

/// A world whose clients confirm when the test says so.
fn by_hand(setup: Setup) -> World {
    let mut world = World::new(setup);
    world.confirms = false;
    world
}

/// A knock of client 0 whose stages have come from its home.
fn knocked(home: SocketAddr) -> (World, Knock) {
    let mut world = by_hand(Setup::default());
    let knock = world.go(0, &Ask::default(), home);
    world.acks.clear();
    (world, knock)
}

/// Who is let in, and whether only for a moment.
fn live(world: &World) -> Vec<(IpAddr, bool)> {
    world.firewall.live.values().map(|(grant, _)| (grant.source, grant.provisional)).collect()
}

/// Numbers, status and reason of the answers since the last call, oldest first.
fn told(world: &mut World, knock: &Knock) -> Vec<(u8, Status, Reason)> {
    let open = |(to, bytes): (SocketAddr, Vec<u8>)| {
        let (ack, _): (Ack, _) = knock.session.open_ack(&bytes).unwrap();
        assert_eq!(ack.observed, to);
        (ack.number, ack.status, ack.reason)
    };
    world.acks.drain(..).map(open).collect()
}

const GRANTED: (Status, Reason) = (Status::Granted, Reason::None);

fn granted(number: u8) -> (u8, Status, Reason) {
    (number, GRANTED.0, GRANTED.1)
}

#[test]
fn p1_a_faster_copier_has_ten_seconds_at_most() {
    for home in homes() {
        let mut world = by_hand(Setup::default());
        let knock = world.knock(0, &Ask::default());
        for stage in 0..3 {
            world.stage(&knock, stage, copier(home));
            world.stage(&knock, stage, home);
        }
        assert_eq!(live(&world), [(copier(home).ip(), true)]);
        assert_eq!(world.provisional[0].1.ttl, SECOND * 10);
        assert_eq!(world.engine.counters().granted, 0, "nobody is let in before the CONFIRM");
        // The client hears of its own address, and of the time that it will have.
        let ack = world.acks_to(&knock, home)[0];
        assert_eq!((ack.number, ack.provisional, ack.ttl_s), (0, true, 600));
        world.pass(ms(9_999));
        assert_eq!(live(&world).len(), 1);
        world.pass(ms(1));
        assert!(live(&world).is_empty());
        world.confirm(&knock, 1, home);
        assert_eq!(live(&world), [(home.ip(), false)]);
        assert_eq!(world.openings()[0].3, 600);
    }
}

#[test]
fn p1_the_clients_confirm_ends_the_copiers_grant() {
    for home in homes() {
        let mut world = by_hand(Setup::default());
        let knock = world.knock(0, &Ask::default());
        world.whole(&knock, copier(home));
        world.whole(&knock, home);
        world.acks.clear();
        world.confirm(&knock, 1, home);
        assert_eq!(live(&world), [(home.ip(), false)]);
        assert_eq!(told(&mut world, &knock), [granted(1)]);
        // Copies of all that the client sent change nothing, and tell the copier its own address.
        world.whole(&knock, copier(home));
        world.confirm_from(&knock, 2, home.ip(), copier(home));
        assert_eq!(live(&world), [(home.ip(), false)]);
        assert_eq!(told(&mut world, &knock), [granted(0)]);
        world.pass(SECOND * 600);
        assert!(live(&world).is_empty());
    }
}

#[test]
fn p1_one_provisional_grant_whatever_the_sources() {
    for home in homes() {
        let mut world = by_hand(Setup::default());
        let knock = world.knock(0, &Ask::default());
        world.stage(&knock, 0, home);
        world.stage(&knock, 1, home);
        for i in 1..=200u16 {
            let source = if home.is_ipv4() {
                addr(&format!("198.51.100.{i}:9"))
            } else {
                addr(&format!("[2001:db8:bad::{i:x}]:9"))
            };
            world.stage(&knock, 2, source);
            assert_eq!(world.acks_to(&knock, source).len(), 1, "each is told its address");
        }
        assert_eq!((world.provisional.len(), live(&world).len()), (1, 1));
        world.stage(&knock, 2, home);
        world.confirm(&knock, 1, home);
        assert_eq!(live(&world), [(home.ip(), false)]);
        let lines = world.log.iter().filter(|event| event.kind == EventKind::Provisional).count();
        assert_eq!(lines, 1);
    }
}

#[test]
fn p1_foreign_grants_never_count_for_max_grants() {
    for home in homes() {
        let one = Stanza { max_grants: Some(1), ..stanza() };
        let mut world = by_hand(Setup { stanzas: vec![one.clone(), one], ..Setup::default() });
        for _ in 0..40 {
            let knock = world.knock(0, &Ask::default());
            world.whole(&knock, copier(home));
        }
        assert_eq!(world.provisional.len(), 40);
        let knock = world.knock(0, &Ask::default());
        world.whole(&knock, copier(home));
        world.stage(&knock, 2, home);
        world.acks.clear();
        world.confirm(&knock, 1, home);
        assert_eq!(told(&mut world, &knock), [granted(1)]);
        world.pass(SECOND * 10);
        assert_eq!(live(&world), [(home.ip(), false)]);
        // The limit of one holds for what is confirmed.
        let web = world.go(0, &Ask::service("web"), home);
        assert_eq!(told(&mut world, &web), [(0, Status::Denied, Reason::MaxGrants)]);
    }
}

/// `A ≠ a: ignore; last stays`. A copier of the CONFIRM that is faster gets nothing, no answer that
/// it could take to the client, and does not spend the number.
#[test]
fn an_address_that_is_not_the_source_is_ignored_and_unanswered() {
    for home in homes() {
        let (mut world, knock) = knocked(home);
        let (port, bytes) = knock.confirm(1, home.ip());
        world.datagram(&bytes, copier(home), port);
        world.confirm_from(&knock, 8, copier(home).ip(), home);
        world.confirm_from(&knock, 7, moved(home).ip(), copier(home));
        assert_eq!(live(&world), [(home.ip(), true)]);
        assert!(world.acks.is_empty());
        world.confirm(&knock, 1, home);
        assert_eq!(told(&mut world, &knock), [granted(1)]);
        assert_eq!(world.engine.counters().confirms, 1);
    }
}

/// `c < last: ignore`, and nine is no number.
#[test]
fn only_a_higher_number_counts() {
    for home in homes() {
        let (mut world, knock) = knocked(home);
        world.confirm(&knock, 3, home);
        for old in [1, 2] {
            world.confirm(&knock, old, home);
        }
        assert_eq!(told(&mut world, &knock), [granted(3)]);
        world.confirm(&knock, 8, home);
        world.confirm(&knock, 3, home);
        assert_eq!(told(&mut world, &knock), [granted(8)]);
        for wrong in [0, 9, 255] {
            world.confirm(&knock, wrong, home);
        }
        assert!(world.acks.is_empty());
        assert_eq!(world.engine.counters().confirms, 2);
    }
}

/// `c = last, same bytes: the same answer to a`. It opens nothing anew.
#[test]
fn repeated_bytes_get_the_same_answer() {
    for home in homes() {
        let (mut world, knock) = knocked(home);
        for _ in 0..50 {
            world.confirm(&knock, 1, home);
            world.pass(ms(500));
        }
        assert_eq!(world.acks.len(), 50);
        assert!(world.acks.iter().all(|ack| *ack == world.acks[0]));
        assert_eq!(world.opens.len(), 1, "the ttl runs from the first");
        world.pass(SECOND * 575);
        assert!(live(&world).is_empty());
    }
}

/// `c = last, other bytes: ignore`: other padding, another address.
#[test]
fn other_bytes_with_the_same_number_are_ignored() {
    for home in homes() {
        let (mut world, knock) = knocked(home);
        world.confirm(&knock, 1, home);
        world.acks.clear();
        let same = Confirm { number: 1, address: home.ip() };
        for padding in [1, 112, 896] {
            let bytes = knock.session.make_confirm(&knock.pair, &same, padding);
            world.datagram(&bytes, home, 7003);
        }
        world.confirm(&knock, 1, moved(home));
        assert!(world.acks.is_empty());
        assert_eq!(live(&world), [(home.ip(), false)]);
        assert_eq!(world.opens.len(), 1);
    }
}

/// Any padding confirms; any flipped bit does not.
#[test]
fn padding_and_forgeries() {
    for home in homes() {
        let (mut world, knock) = knocked(home);
        let confirm = Confirm { number: 1, address: home.ip() };
        let bytes = knock.session.make_confirm(&knock.pair, &confirm, 896);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << (at % 8);
            world.datagram(&bad, home, 7003);
        }
        for port in [7001, 7002] {
            world.datagram(&bytes, home, port);
        }
        assert_eq!((world.acks.len(), world.opens.len()), (0, 0));
        world.datagram(&bytes, copier(home), 7003);
        assert_eq!((world.acks.len(), world.opens.len()), (0, 0));
        world.confirmed.insert((knock.id(), home.ip()));
        world.datagram(&bytes, home, 7003);
        assert_eq!(told(&mut world, &knock), [granted(1)]);
    }
}

#[test]
fn for_half_a_minute() {
    for home in homes() {
        for (wait, opens) in [(29_999, true), (30_000, false), (60_000, false)] {
            let (mut world, knock) = knocked(home);
            world.pass(ms(wait));
            world.confirm(&knock, 1, home);
            assert_eq!((live(&world).len() == 1, world.acks.len() == 1), (opens, opens), "{wait}");
        }
    }
}

/// However many clients there are and however short the window is, tags and ports of the session
/// are known as long as it can be confirmed.
#[test]
fn tags_and_ports_outlive_a_short_window() {
    let world = by_hand(Setup::default());
    let settings = Settings { window_past: SECOND, ..world.settings };
    let ten_past = 60_000 * epoch_of(world.now.unix_ms) + 10_000;
    let (first, _) = live_epochs(20_000, &settings, ten_past);
    assert_eq!(first, epoch_of(ten_past) - 1);
    assert_eq!(settings.past_reach(), SECOND * 30);
}

/// A client that moves, or that was told another's address first: one session is open for one
/// address, and each CONFIRM ends what the one before opened.
#[test]
fn a_confirm_from_elsewhere_ends_the_one_before() {
    for home in homes() {
        let one = Stanza { max_grants: Some(1), ..stanza() };
        let mut world = by_hand(Setup::with(one));
        let knock = world.go(0, &Ask::default(), home);
        let other = if home.is_ipv4() { home6(0) } else { home4(0) };
        for (number, at) in [(1, home), (2, moved(home)), (3, home), (4, other)] {
            world.stage(&knock, 2, at);
            world.acks.clear();
            world.confirm(&knock, number, at);
            assert_eq!(told(&mut world, &knock), [granted(number)]);
            assert_eq!(live(&world), [(at.ip(), false)]);
            assert_eq!(world.engine.live_grants(), 1);
        }
    }
}

/// The port of the last stage in the session's own epoch, whatever hour it is meanwhile.
#[test]
fn hop_ports() {
    for home in homes() {
        let start_ms = crate::world::START + 595_000;
        let mut world = by_hand(Setup { start_ms, ..Setup::hopping() });
        let knock = world.go(0, &Ask::default(), home);
        world.acks.clear();
        world.pass(SECOND * 9);
        let now = world.ports(world.now.unix_ms)[2];
        let (port, bytes) = knock.confirm(1, home.ip());
        assert_ne!(port, now);
        world.datagram(&bytes, home, now);
        assert!(world.acks.is_empty());
        world.confirm(&knock, 1, home);
        assert_eq!(told(&mut world, &knock), [granted(1)]);
        assert_eq!(live(&world), [(home.ip(), false)]);
    }
}
