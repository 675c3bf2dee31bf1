//! What is for a moment, what needs no CONFIRM, and what cannot have one.

use std::net::{IpAddr, SocketAddr};

use spa_proto::{ClientPublic, Op, Reason, Status};
use spa_server::engine::{EventKind, Role, Stanza};

use crate::actors::{Actor, Ask, Knock, Token, elsewhere, home4, home6};
use crate::world::{SECOND, Setup, Stop, World, ms, stanza};

fn homes() -> [SocketAddr; 2] {
    [home4(0), home6(0)]
}

fn by_hand(setup: Setup) -> World {
    let mut world = World::new(setup);
    world.confirms = false;
    world
}

fn live(world: &World) -> Vec<(String, bool)> {
    let one =
        |grant: &spa_server::domain::grant::Grant| (grant.network().to_string(), grant.provisional);
    world.firewall.live.values().map(|(grant, _)| one(grant)).collect()
}

fn single(address: IpAddr) -> String {
    ipnet::IpNet::from(address).to_string()
}

/// The last word to a source: number, status, reason.
fn last(world: &World, knock: &Knock, source: SocketAddr) -> (u8, Status, Reason) {
    let ack = *world.acks_to(knock, source).last().unwrap();
    (ack.number, ack.status, ack.reason)
}

/// For the one address before, for its network after.
#[test]
fn wide_prefixes() {
    for (home, wide) in [(home4(0), "192.0.2.0/24"), (home6(0), "2001:db8::/56")] {
        let rights = Stanza { prefix_v4: Some(24), prefix_v6: Some(56), ..stanza() };
        let mut world = by_hand(Setup::with(rights));
        let knock = world.go(0, &Ask::default(), home);
        assert_eq!(live(&world), [(single(home.ip()), true)]);
        world.confirm(&knock, 1, home);
        assert_eq!(live(&world), [(wide.to_owned(), false)]);
        assert_eq!(world.engine.live_grants(), 1);
    }
}

/// Nothing opens before the CONFIRM, for anybody.
#[test]
fn provisional_zero() {
    for home in homes() {
        let mut world = by_hand(Setup { provisional: ms(0), ..Setup::default() });
        let knock = world.knock(0, &Ask::default());
        world.whole(&knock, elsewhere());
        world.whole(&knock, home);
        assert!(world.firewall.live.is_empty());
        for source in [elsewhere(), home] {
            let ack = *world.acks_to(&knock, source).last().unwrap();
            assert_eq!((ack.status, ack.provisional, ack.ttl_s), (Status::Granted, true, 600));
        }
        world.confirm(&knock, 1, home);
        assert_eq!(live(&world), [(single(home.ip()), false)]);
    }
}

/// A grant that lasts is not made shorter by the next knock, and ends no earlier if nobody confirms
/// that one.
#[test]
fn a_lasting_grant_is_not_shortened() {
    for home in homes() {
        let mut world = World::new(Setup::default());
        world.go(0, &Ask::default(), home);
        world.confirms = false;
        let again = world.go(0, &Ask::default(), home);
        assert_eq!(live(&world), [(single(home.ip()), false)]);
        assert!(world.acks_to(&again, home)[0].provisional);
        world.pass(SECOND * 599);
        assert_eq!(world.firewall.live.len(), 1);
        world.pass(SECOND);
        assert!(world.firewall.live.is_empty());
    }
}

/// Without an answer nobody can confirm: ten seconds, and a CONFIRM changes nothing.
#[test]
fn who_wants_no_answer_cannot_confirm() {
    for home in homes() {
        let mut world = by_hand(Setup::default());
        let ask = Ask { want_ack: false, ..Ask::default() };
        let knock = world.go(0, &ask, home);
        world.confirm(&knock, 1, home);
        assert_eq!(live(&world), [(single(home.ip()), true)]);
        world.pass(SECOND * 10);
        assert!(world.firewall.live.is_empty() && world.acks.is_empty());
    }
}

/// A server that never answers: the first four sources of the last stage, for the ttl, counted once.
#[test]
fn acks_off() {
    for home in homes() {
        let rights = Stanza { max_grants: Some(2), ..stanza() };
        let mut world = World::new(Setup { ack: false, ..Setup::with(rights) });
        let knock = world.go(0, &Ask::default(), elsewhere());
        for source in [home, home4(50), home6(50), home4(51), home6(51), home] {
            for stage in [0, 1, 2] {
                world.stage(&knock, stage, source);
            }
            world.confirm(&knock, 1, source);
        }
        let sources: Vec<_> = world.opens.iter().map(|(_, grant)| grant.source).collect();
        assert_eq!(sources, [elsewhere(), home, home4(50), home6(50)].map(|source| source.ip()));
        assert!(world.opens.iter().all(|(_, grant)| grant.ttl == SECOND * 600));
        assert!(world.provisional.is_empty());
        // One more fits the limit of two, a third does not.
        let web = world.go(0, &Ask::service("web"), home);
        let all = world.go(0, &Ask::service("all"), home);
        assert_eq!([world.has_opened(&web), world.has_opened(&all)], [true, false]);
        // A bound session is for its own address also here.
        let bound = world.knock(0, &Ask::bound(home));
        world.whole(&bound, home);
        let opens = world.opens.len();
        world.stage(&bound, 2, elsewhere());
        assert_eq!(world.opens.len(), opens);
    }
}

/// What names its address, or opens nothing, has no CONFIRM: it is ignored.
#[test]
fn what_needs_no_confirm() {
    for home in homes() {
        let third = Stanza { third_party: true, ..stanza() };
        for ask in [
            Ask::bound(home),
            Ask::for_addr(Op::Open, home.ip()),
            Ask::close("ssh"),
            Ask::op(Op::Rekey),
        ] {
            let mut world = by_hand(Setup::with(third.clone()));
            let knock = world.go(0, &ask, home);
            let ack = world.acks_to(&knock, home)[0];
            assert_eq!((ack.status, ack.provisional), (Status::Granted, false));
            let (live, answers) = (live(&world), world.acks.len());
            world.confirm(&knock, 1, home);
            assert_eq!((self::live(&world), world.acks.len()), (live, answers));
            assert_eq!(world.engine.counters().confirms, 0);
        }
    }
}

/// A refusal because of the source decides nothing: a copy from a network outside `from`, from a
/// banned address, or while the limit is reached, does not end the session for its client.
#[test]
fn p1_a_refused_copier_does_not_end_the_session() {
    for home in homes() {
        let networks = ["192.0.2.0/24", "2001:db8::/48"].map(|net| net.parse().unwrap());
        for (from, banned, reason) in
            [(networks.to_vec(), false, Reason::From), (Vec::new(), true, Reason::Banned)]
        {
            type New = fn(ClientPublic) -> Op;
            for op in [
                None,
                Some((Op::Rekey as New, Role::Client)),
                Some((Op::Enrol, Role::Invitation { until_ms: u64::MAX })),
            ] {
                let (ask, role) = match op {
                    None => (Ask::default(), Role::Client),
                    Some(_) if banned => continue,
                    Some((op, role)) => (Ask::op(op), role),
                };
                let mut world =
                    World::new(Setup::with(Stanza { from: from.clone(), role, ..stanza() }));
                if banned {
                    world.firewall.banned.insert(elsewhere().ip());
                }
                let knock = world.knock(0, &ask);
                for _ in 0..5 {
                    world.whole(&knock, elsewhere());
                    assert_eq!(last(&world, &knock, elsewhere()), (0, Status::Denied, reason));
                }
                world.stage(&knock, 2, home);
                assert_eq!(last(&world, &knock, home).1, Status::Granted);
                assert_eq!(world.has_opened(&knock), op.is_none());
                assert_eq!(world.replacements.len(), usize::from(op.is_some()));
                assert!(world.log.len() <= 8 + 1);
            }
        }
    }
}

#[test]
fn p1_a_limit_that_a_copier_meets_does_not_end_the_session() {
    for home in homes() {
        let mut world = World::new(Setup::with(Stanza { max_grants: Some(1), ..stanza() }));
        world.go(0, &Ask::default(), home);
        // It renews what it has; from the copier's address it would be a second one.
        let knock = world.knock(0, &Ask::default());
        world.whole(&knock, elsewhere());
        assert_eq!(last(&world, &knock, elsewhere()), (0, Status::Denied, Reason::MaxGrants));
        world.stage(&knock, 2, home);
        assert_eq!(last(&world, &knock, home), (1, Status::Granted, Reason::None));
        assert_eq!(live(&world), [(single(home.ip()), false)]);
    }
}

/// Keys of sessions are in memory only.
#[test]
fn no_restart_confirms() {
    for home in homes() {
        for stop in [Stop::Clean, Stop::Crash, Stop::StoreLost] {
            let mut world = by_hand(Setup::default());
            let knock = world.go(0, &Ask::default(), home);
            world.restart(stop);
            world.acks.clear();
            world.confirm(&knock, 1, home);
            assert!(world.opens.is_empty());
            world.pass(SECOND * 10);
            assert!(world.firewall.live.is_empty());
            assert!(world.acks.is_empty(), "a CONFIRM is no knock");
        }
    }
}

/// One touch: the CONFIRM has no signature.
#[test]
fn security_keys() {
    for home in homes() {
        let mut world = World::new(Setup::default());
        let token = Token::new([50; 32]);
        world.actors[0] = Actor::with_token(0, stanza(), world.actors[0].server, &token);
        let clients = world.actors.iter().map(Actor::enrolled);
        let registry = spa_server::engine::Registry::new(
            crate::world::server_secret(),
            crate::world::services(),
            clients,
        );
        let settings = world.settings.clone();
        world.reload(std::sync::Arc::new(registry.unwrap()), settings);
        let (ports, now) = (world.ports(world.now.unix_ms), world.now.unix_ms);
        let knock = world.actors[0].knock_signed(&Ask::default(), &ports, now, &token);
        world.know(&knock);
        world.whole(&knock, elsewhere());
        world.whole(&knock, home);
        assert_eq!(token.touches(), 1);
        assert_eq!(live(&world), [(single(home.ip()), false)]);
        let kinds: Vec<_> = world.log.iter().map(|event| event.kind).collect();
        assert!(kinds.ends_with(&[EventKind::Granted]), "{kinds:?}");
    }
}

/// Two families are two sessions, each with its CONFIRM.
#[test]
fn two_families() {
    let mut world = World::new(Setup::default());
    world.go(0, &Ask::default(), home4(0));
    world.go(0, &Ask::default(), home6(0));
    let both = homes().map(|home| (single(home.ip()), false));
    assert_eq!(live(&world), both);
}
