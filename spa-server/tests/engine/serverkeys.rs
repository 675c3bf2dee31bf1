//! Two keys of the server that live at the same time.

use std::sync::Arc;

use spa_proto::{
    ACK_KEYS_LEN, ACK_LEN, ClientPublic, HopKey, NewKeys, Op, Reason, ServerSecret, Status,
};
use spa_server::engine::{
    Ports, Previous, RegisteredClient, Registry, Role, ServerKeyVersion, Stanza,
};

use crate::actors::{Actor, Ask, home4, home6};
use crate::world::{SECOND, Setup, World, ms, server_secret, services, stanza};

fn old_secret() -> ServerSecret {
    ServerSecret::from_bytes([78; 32])
}

/// The server's present key and the one before, and which of them a client's knock survives.
type Turn = (fn() -> (ServerSecret, Option<ServerSecret>), [bool; 2]);

/// Index of client 0 as it is when it believes in the old key.
const LATE: usize = 3;

fn registry(
    world: &World,
    now: ServerSecret,
    previous: Option<ServerSecret>,
    until: Option<u64>,
) -> Registry {
    let clients = world.actors.iter().take(3).map(Actor::enrolled);
    let previous = previous.map(|secret| Previous { secret, until_ms: until });
    Registry::new(now, services(), clients).unwrap().with_previous(previous)
}

/// The same world with other keys of the server.
fn turn(world: &mut World, now: ServerSecret, previous: Option<ServerSecret>) {
    let hop = previous.as_ref().map(HopKey::of_server);
    let mut settings = world.settings.clone();
    if let Ports::Hop(plan, _) = settings.sequence.ports() {
        let ports = Ports::Hop(plan.clone(), HopKey::of_server(&now));
        let (timeout, reorder) = (settings.sequence.timeout, settings.sequence.reorder);
        settings.sequence =
            spa_server::engine::Sequence::new(ports, timeout, reorder).with_previous(hop);
    }
    let registry = registry(world, now, previous, None);
    world.reload(Arc::new(registry), settings);
}

/// A world with both keys, and client 0 twice: by the present key, and as [`LATE`] by the old one.
fn world(setup: Setup) -> World {
    let mut world = World::new(setup);
    let first = world.actors[0].stanza.clone();
    world.actors.push(Actor::new(0, first, old_secret().public()));
    turn(&mut world, server_secret(), Some(old_secret()));
    world
}

fn three(stanza: Stanza) -> Setup {
    Setup { stanzas: vec![stanza; 3], ..Setup::default() }
}

#[test]
fn a_client_is_served_by_either_key_and_is_one_client() {
    let mut world = world(three(Stanza { max_grants: Some(1), ..stanza() }));
    let public = world.actors[0].public;
    for (home, client, by, length) in [
        (home4(0), LATE, ServerKeyVersion::PreviousKey, ACK_KEYS_LEN),
        (home4(0), 0, ServerKeyVersion::Key, ACK_LEN),
    ] {
        let knock = world.go(client, &Ask::default(), home);
        assert!(world.has_opened(&knock));
        let (_, bytes) = world.acks[0].clone();
        assert_eq!(world.answers(&knock), [(home, Status::Granted, Reason::None)]);
        assert_eq!(bytes.len(), length);
        let (_, keys) = knock.session.open_ack(&bytes).unwrap();
        let told = keys.map(|keys| (keys.public, keys.hop));
        assert_eq!(
            told,
            (by == ServerKeyVersion::PreviousKey).then(|| (server_secret().public(), None))
        );
        assert_eq!(world.key_sightings.pop(), Some((public.sign, by)));
    }
    // The second knock renewed the grant of the first, and from another address the limit of one is
    // reached by both.
    assert_eq!(world.engine.live_grants(), 1);
    for client in [0, LATE] {
        let knock = world.go(client, &Ask::default(), home6(0));
        assert_eq!(world.answers(&knock), [(home6(0), Status::Denied, Reason::MaxGrants)]);
    }
}

#[test]
fn one_budget_for_both_keys() {
    let mut world = world(Setup::default());
    let mut opened = 0;
    for n in 0..300 {
        let knock = world.go(if n % 2 == 0 { 0 } else { LATE }, &Ask::default(), home4(0));
        opened += usize::from(world.has_opened(&knock));
    }
    let mut alone = World::new(Setup::default());
    let mut of_one = 0;
    for _ in 0..300 {
        let knock = alone.go(0, &Ask::default(), home4(0));
        of_one += usize::from(alone.has_opened(&knock));
    }
    assert_eq!(opened, of_one);
    assert!(opened < 300);
}

#[test]
fn a_session_of_one_key_is_spent_whatever_keys_follow() {
    let mut world = world(Setup::default());
    let late = world.go(LATE, &Ask::default(), home4(0));
    let present = world.go(0, &Ask::default(), home6(0));
    let opens = world.opens.len();
    type Keys = (ServerSecret, Option<ServerSecret>);
    let turns: [fn() -> Keys; 5] = [
        || (server_secret(), Some(old_secret())),
        || (old_secret(), Some(server_secret())),
        || (old_secret(), None),
        || (server_secret(), None),
        || (server_secret(), Some(old_secret())),
    ];
    for keys in turns {
        let (now, previous) = keys();
        turn(&mut world, now, previous);
        world.acks.clear();
        for source in [home4(1), home6(1)] {
            world.whole(&late, source);
            world.whole(&present, source);
        }
        assert_eq!(world.opens.len(), opens);
        // Whoever repeats it is told its own address, and has nothing to confirm it with.
        for (to, bytes) in std::mem::take(&mut world.acks) {
            let opened = [&late, &present].into_iter().find_map(|k| k.session.open_ack(&bytes));
            let (ack, _) = opened.unwrap();
            assert_eq!((ack.number, ack.provisional, ack.observed), (0, true, to));
        }
        world.pass(SECOND);
    }
    assert_eq!(world.engine.live_grants(), 2, "no reload cost a grant");
    // A clean restart knows both sessions as well.
    world.restart(crate::world::Stop::Clean);
    world.whole(&late, home4(1));
    world.whole(&present, home6(1));
    assert_eq!(world.opens.len(), opens);
}

#[test]
fn what_was_made_for_one_key_is_a_strangers_packet_to_the_other() {
    let mut world = World::new(Setup::default());
    let first = world.actors[0].stanza.clone();
    world.actors.push(Actor::new(0, first, old_secret().public()));
    let before = world.engine.counters();
    let knock = world.go(LATE, &Ask::default(), home4(0));
    let after = world.engine.counters();
    assert!(!world.has_opened(&knock) && world.acks.is_empty() && world.log.is_empty());
    assert_eq!(after.unknown_tag - before.unknown_tag, 3);
}

#[test]
fn the_old_key_ends_at_its_moment() {
    let mut world = world(Setup::default());
    let until = world.now.unix_ms + 10_000;
    let registry = registry(&world, server_secret(), Some(old_secret()), Some(until));
    let settings = world.settings.clone();
    world.reload(Arc::new(registry), settings);
    let begun = world.knock(LATE, &Ask::default());
    world.stage(&begun, 0, home4(0));
    let knock = world.go(LATE, &Ask::default(), home6(0));
    assert!(world.has_opened(&knock));
    world.pass(ms(10_000));
    // Also what was begun before: as if the key were not there.
    world.stage(&begun, 1, home4(0));
    world.stage(&begun, 2, home4(0));
    let late = world.go(LATE, &Ask::default(), home6(1));
    let present = world.go(0, &Ask::default(), home4(1));
    let opened = [&begun, &late, &present].map(|knock| world.has_opened(knock));
    assert_eq!(opened, [false, false, true]);
}

#[test]
fn knocks_under_way_survive_every_turn_that_keeps_their_key() {
    let turns: [Turn; 4] = [
        (|| (server_secret(), Some(old_secret())), [true, true]),
        (|| (old_secret(), Some(server_secret())), [true, true]),
        (|| (server_secret(), None), [true, false]),
        (|| (old_secret(), None), [false, true]),
    ];
    for (keys, survive) in turns {
        for stages_before in 1..=3 {
            for ((client, source), expected) in
                [(0, home4(0)), (LATE, home6(0))].into_iter().zip(survive)
            {
                let mut world = world(Setup::default());
                world.store.held = Some(Vec::new());
                let knock = world.knock(client, &Ask::default());
                (0..stages_before).for_each(|stage| world.stage(&knock, stage, source));
                let (now, previous) = keys();
                let told = previous.is_some() && (client == 0) != (now == server_secret());
                turn(&mut world, now, previous);
                (stages_before..3).for_each(|stage| world.stage(&knock, stage, source));
                world.release_store();
                assert_eq!(
                    world.has_opened(&knock),
                    expected,
                    "{client} after {stages_before} stages"
                );
                if expected {
                    let length = if told { ACK_KEYS_LEN } else { ACK_LEN };
                    assert_eq!(world.acks[0].1.len(), length);
                }
            }
        }
    }
}

#[test]
fn each_key_hops_its_own_way_and_tells_the_other() {
    let mut world = world(Setup::hopping());
    let Ports::Hop(plan, now) = world.settings.sequence.ports().clone() else {
        panic!("no hopping")
    };
    let hop = spa_proto::HopPlan::epoch_of(world.now.unix_ms);
    let old = plan.ports(&HopKey::of_server(&old_secret()), hop);
    let live = world.settings.sequence.live_ports(world.now.unix_ms, ms(0), ms(0));
    let both =
        old.iter().chain(&plan.ports(&now, hop)).all(|port| live.iter().any(|r| r.contains(*port)));
    assert!(both && live.len() == 6, "{live:?}");
    let knock = world.actors[LATE].knock(&Ask::default(), &old, world.now.unix_ms);
    world.know(&knock);
    world.whole(&knock, home4(0));
    assert!(world.has_opened(&knock));
    let (_, keys) = knock.session.open_ack(&world.acks[0].1).unwrap();
    assert_eq!(keys.and_then(|keys| keys.hop), Some(now));
    // At the ports of the other key it is not one of ours.
    let wrong = world.go(LATE, &Ask::default(), home4(1));
    assert!(!world.has_opened(&wrong));
}

#[test]
fn an_invitation_of_before_and_new_keys_by_the_old_key() {
    for (role, op) in [
        (Role::Invitation { until_ms: u64::MAX }, Op::Enrol as fn(ClientPublic) -> Op),
        (Role::Client, Op::Rekey),
    ] {
        let mut world = world(three(Stanza { role, ..stanza() }));
        let knock = world.go(LATE, &Ask::op(op), home4(0));
        assert_eq!(world.acks[0].1.len(), ACK_KEYS_LEN);
        assert_eq!(world.answers(&knock), [(home4(0), Status::Granted, Reason::None)], "{role:?}");
        let replaced = world.replacements.pop().unwrap();
        let late = &world.actors[LATE];
        let secret = spa_proto::ClientSecret::from_bytes([0x77; 32]);
        let new = NewKeys {
            public: secret.public(),
            secret: &secret,
            signer: &secret,
            old: late.public,
            old_psk: &late.psk,
        };
        assert_eq!(replaced.psk, new.psk(), "{role:?}");
        assert!(replaced.evidence.read(&old_secret().public(), &late.public).is_some());
    }
}

/// Made anew each time: the same word, with the present keys and the time of now.
#[test]
fn a_repeated_last_stage_is_told_the_keys_too() {
    let mut world = world(Setup::default());
    let knock = world.go(LATE, &Ask::bound(home4(0)), home4(0));
    for _ in 0..5 {
        world.stage(&knock, 2, home4(0));
    }
    assert_eq!(world.acks.len(), 6);
    assert!(world.acks.iter().all(|ack| *ack == world.acks[0] && ack.1.len() == ACK_KEYS_LEN));
    world.pass(SECOND);
    world.stage(&knock, 2, home4(0));
    let told = [0, 6].map(|at| knock.session.open_ack(&world.acks[at].1).unwrap());
    assert_eq!(told[1].0.server_ms, told[0].0.server_ms + 1000);
    assert_eq!((told[1].0.status, told[1].1.is_some()), (told[0].0.status, true));
}

/// New keys whose answer was lost, asked for again by the server's other key: granted only when the
/// psk that this session leads to is the one that is stored.
#[test]
fn p6_new_keys_repeated_by_the_other_key() {
    for (first, second) in [(0, LATE), (LATE, 0)] {
        for home in [home4(0), home6(0)] {
            for stored in [true, false] {
                let mut world = world(three(stanza()));
                world.go(first, &Ask::op(Op::Rekey), home);
                let made = world.replacements.pop().unwrap();
                let old = world.actors[0].enrolled();
                let psk = if stored { made.psk } else { spa_proto::Psk::from_bytes([1; 32]) };
                let new = RegisteredClient { public: made.new, psk, ..old.clone() };
                let role = Role::Former { until_ms: u64::MAX };
                let former = RegisteredClient { stanza: Stanza { role, ..stanza() }, ..old };
                let previous = Previous { secret: old_secret(), until_ms: None };
                let registry = Registry::new(server_secret(), services(), [new, former]).unwrap();
                let settings = world.settings.clone();
                world.reload(Arc::new(registry.with_previous(Some(previous))), settings);
                world.acks.clear();
                let again = world.go(second, &Ask::op(Op::Rekey), home);
                let expected = if stored {
                    (home, Status::Granted, Reason::None)
                } else {
                    (home, Status::Denied, Reason::NewKeys)
                };
                assert_eq!(world.answers(&again), [expected]);
                assert!(world.replacements.is_empty(), "nothing is replaced a second time");
            }
        }
    }
}
