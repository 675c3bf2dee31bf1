//! ENROL and REKEY with an ML-KEM key.

use std::sync::Arc;

use spa_proto::{ACK_LEN, ClientPublic, Op, Psk, Reason, ServerSecret, Status};
use spa_server::engine::{Previous, RegisteredClient, Registry, Role, Stanza};

use crate::actors::{Actor, Ask, Knock, home4, home6};
use crate::world::{Setup, World, server_secret, services, stanza};

/// Length of an answer that brings a ciphertext.
const KEM_ACK: usize = ACK_LEN + 1088;

type New = fn(ClientPublic) -> Op;

type After = fn(u64) -> Role;

const ROLES: [(Role, New, After); 2] = [
    (Role::Client, Op::Rekey, |until_ms| Role::Former { until_ms }),
    (Role::Invitation { until_ms: u64::MAX }, Op::Enrol, |until_ms| Role::Taken { until_ms }),
];

fn ask(op: New) -> Ask {
    Ask { kem: true, ..Ask::op(op) }
}

/// The psk that the client makes of the answer.
fn psk_of(world: &World, knock: &Knock) -> Psk {
    let (_, bytes) = world.acks.last().unwrap();
    let answer = knock.session.open_answer(bytes).unwrap();
    world.actors[0].new_psk(Some(answer.ciphertext.as_ref().unwrap()))
}

#[test]
fn both_sides_come_to_one_psk_whatever_the_stages() {
    for stages in 2..=8 {
        for (role, op, _) in ROLES {
            // Pieces that overtake each other, and some that come twice.
            for order in ["in order", "reversed", "twice"] {
                let mut world = World::new(Setup {
                    stanzas: vec![Stanza { role, ..stanza() }],
                    ..Setup::stages(stages)
                });
                let knock = world.knock(0, &ask(op));
                let stages = knock.stages();
                let home = if stages.is_multiple_of(2) { home4(0) } else { home6(0) };
                match order {
                    "reversed" => (0..stages).rev().for_each(|at| world.stage(&knock, at, home)),
                    "twice" => (0..stages).for_each(|at| {
                        world.stage(&knock, at, home);
                        world.stage(&knock, at.saturating_sub(1), home);
                    }),
                    _ => world.whole(&knock, home),
                }
                let made = world.replacements.pop().unwrap();
                assert!(world.acks.iter().any(|(_, bytes)| bytes.len() == KEM_ACK));
                assert_eq!(made.psk, psk_of(&world, &knock), "{stages} {role:?} {order}");
                assert!(made.kem.is_some() && made.psk != world.actors[0].new_psk(None));
            }
        }
    }
}

/// One stage, or no answers: the flag is refused as a forgery would be.
#[test]
fn where_no_key_can_go_nothing_is_verified() {
    let mut world = World::new(Setup { ack: false, ..Setup::default() });
    let knock = world.go(0, &ask(Op::Rekey), home4(0));
    assert!(world.acks.is_empty() && world.log.is_empty() && world.replacements.is_empty());
    assert_eq!(world.engine.counters().not_authentic, 3);
    world.whole(&knock, home4(0));
    assert_eq!(world.engine.counters().refused_again, 3);
}

/// Keys that were replaced ask again: by either key of the server the same ciphertext and psk, and
/// nothing else.
#[test]
fn asked_again_by_either_key_it_is_the_same_psk() {
    let old_secret = || ServerSecret::from_bytes([78; 32]);
    for (role, op, former) in ROLES {
        for (stored, with_kem) in [(true, true), (false, true), (true, false)] {
            let mut world = World::new(Setup::with(Stanza { role, ..stanza() }));
            let own = world.actors[0].stanza.clone();
            world.actors.push(Actor::new(0, own, old_secret().public()));
            let knock = world.go(0, &ask(op), home4(0));
            let made = world.replacements.pop().unwrap();
            let first = knock.session.open_answer(&world.acks[0].1).unwrap().ciphertext;
            let old = world.actors[0].enrolled();
            let kem = made.kem.filter(|_| stored);
            let stanza = |role| Stanza { role, ..stanza() };
            let clients = [
                RegisteredClient {
                    public: made.new,
                    psk: made.psk.clone(),
                    stanza: stanza(Role::Client),
                    ..old.clone()
                },
                RegisteredClient { stanza: stanza(former(u64::MAX)), kem, ..old },
            ];
            let previous = Previous { secret: old_secret(), until_ms: None };
            let registry = Registry::new(server_secret(), services(), clients).unwrap();
            let settings = world.settings.clone();
            world.reload(Arc::new(registry.with_previous(Some(previous))), settings);
            for client in [0, 1] {
                world.acks.clear();
                let again = Ask { kem: with_kem, ..ask(op) };
                let knock = world.go(client, &again, home6(0));
                let answer = knock.session.open_answer(&world.acks[0].1).unwrap();
                if stored && with_kem {
                    assert_eq!(answer.ack.status, Status::Granted);
                    assert_eq!(answer.ciphertext, first);
                    assert_eq!(psk_of(&world, &knock), made.psk);
                    assert_eq!(answer.keys.is_some(), client == 1);
                } else {
                    assert_eq!(answer.ack.reason, Reason::NewKeys, "{role:?} {stored} {with_kem}");
                    assert!(answer.ciphertext.is_none());
                }
                assert!(world.replacements.is_empty(), "nothing is replaced a second time");
            }
        }
    }
}

/// What a taken invitation may: repeat its ENROL until its client has been seen.
#[test]
fn a_taken_invitation_opens_nothing() {
    let taken = Role::Taken { until_ms: u64::MAX };
    for ask in [Ask::default(), Ask::close("ssh"), Ask::op(Op::Rekey)] {
        let mut world = World::new(Setup::with(Stanza { role: taken, ..stanza() }));
        let knock = world.go(0, &ask, home4(0));
        assert_eq!(world.answers(&knock), [(home4(0), Status::Denied, Reason::Op)]);
    }
    let mut world = World::new(Setup::with(Stanza { role: taken, ..stanza() }));
    let knock = world.go(0, &Ask::op(Op::Enrol), home4(0));
    assert_eq!(world.answers(&knock), [(home4(0), Status::Denied, Reason::NewKeys)]);
    assert!(world.replacements.is_empty());
}
