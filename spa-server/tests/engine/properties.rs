//! Any interleaving of anything. What must hold at every opening is checked in [`World`]; here in
//! addition: after the network has calmed down, every client gets in with a fresh session, at
//! latest when the fence has passed.

use proptest::prelude::*;

use crate::actors::{Ask, Knock, elsewhere, home4, home6};
use crate::world::{Setup, Stop, World, ms};

#[derive(Clone, Debug)]
enum Event {
    /// A client makes a session, its clock off by so much.
    Knock {
        client: usize,
        off_ms: i64,
        bound: bool,
        close: bool,
    },
    /// A packet of one of the last sessions arrives.
    Arrive {
        session: usize,
        stage: usize,
        from: usize,
    },
    /// All of them do.
    Burst {
        session: usize,
        from: usize,
    },
    /// A client confirms the address that it sends from.
    Confirm {
        session: usize,
        number: u8,
        from: usize,
    },
    /// A packet arrives damaged, or at another port.
    Mutated {
        session: usize,
        stage: usize,
        at: usize,
        bit: u8,
    },
    WrongPort {
        session: usize,
        stage: usize,
        port: u16,
    },
    Pass {
        ms: u64,
    },
    Wall {
        ms: i64,
    },
    StoreFails(bool),
    FirewallFails(bool),
    HoldStore,
    ReleaseStore,
    HoldFirewall,
    ReleaseFirewall,
    CrashIn(u64),
    Restart(Stop),
    Reload,
}

fn event() -> impl Strategy<Value = Event> {
    let session = 0usize..6;
    let off = prop_oneof![6 => Just(0i64), 1 => -40_000i64..20_000];
    prop_oneof![
        8 => (0usize..3, off, prop::bool::weighted(0.2), prop::bool::weighted(0.1))
            .prop_map(|(client, off_ms, bound, close)| Event::Knock { client, off_ms, bound, close }),
        20 => (session.clone(), 0usize..3, 0usize..4)
            .prop_map(|(session, stage, from)| Event::Arrive { session, stage, from }),
        10 => (session.clone(), 0usize..4).prop_map(|(session, from)| Event::Burst { session, from }),
        6 => (session.clone(), 1u8..10, 0usize..4)
            .prop_map(|(session, number, from)| Event::Confirm { session, number, from }),
        3 => (session.clone(), 0usize..3, 0usize..144, 0u8..8)
            .prop_map(|(session, stage, at, bit)| Event::Mutated { session, stage, at, bit }),
        1 => (session, 0usize..3, 7001u16..7005)
            .prop_map(|(session, stage, port)| Event::WrongPort { session, stage, port }),
        6 => prop_oneof![0u64..300, 0u64..40_000, 0u64..900_000].prop_map(|ms| Event::Pass { ms }),
        2 => prop_oneof![-20_000i64..20_000, -4_000_000i64..4_000_000].prop_map(|ms| Event::Wall { ms }),
        1 => any::<bool>().prop_map(Event::StoreFails),
        1 => any::<bool>().prop_map(Event::FirewallFails),
        1 => Just(Event::HoldStore),
        1 => Just(Event::ReleaseStore),
        1 => Just(Event::HoldFirewall),
        1 => Just(Event::ReleaseFirewall),
        2 => (1u64..8).prop_map(Event::CrashIn),
        1 => prop_oneof![Just(Stop::Clean), Just(Stop::Crash), Just(Stop::StoreLost)].prop_map(Event::Restart),
        1 => Just(Event::Reload),
    ]
}

/// Where client `i`'s packets may come from: its two homes, another's home, nowhere known.
fn source(client: usize, from: usize) -> std::net::SocketAddr {
    [home4(client), home6(client), home4((client + 1) % 3), elsewhere()][from]
}

fn run(world: &mut World, events: &[Event]) {
    let mut made: Vec<(usize, Knock)> = Vec::new();
    for event in events {
        let pick = |back: &usize| made.len().checked_sub(1 + back).and_then(|at| made.get(at));
        match event {
            Event::Knock { client, off_ms, bound, close } => {
                let base = if *close { Ask::close("ssh") } else { Ask::default() };
                let bind_src = bound.then(|| home4(*client).ip());
                let ts = world.now.unix_ms.saturating_add_signed(*off_ms);
                let knock = world.knock_at(*client, &Ask { bind_src, ..base }, ts);
                made.push((*client, knock));
            }
            Event::Arrive { session, stage, from } => {
                if let Some((client, knock)) = pick(session) {
                    world.stage(knock, *stage, source(*client, *from));
                }
            }
            Event::Burst { session, from } => {
                if let Some((client, knock)) = pick(session) {
                    world.whole(knock, source(*client, *from));
                }
            }
            Event::Confirm { session, number, from } => {
                if let Some((client, knock)) = pick(session) {
                    world.confirm(knock, *number, source(*client, *from));
                }
            }
            Event::Mutated { session, stage, at, bit } => {
                if let Some((client, knock)) = pick(session) {
                    let (port, bytes) = knock.packet(*stage);
                    let mut bytes = bytes.to_vec();
                    bytes[*at] ^= 1 << bit;
                    let (actions, opens) = (world.actions, world.opens.len());
                    world.datagram(&bytes, source(*client, 0), port);
                    assert_eq!((world.actions, world.opens.len()), (actions, opens));
                }
            }
            Event::WrongPort { session, stage, port } => {
                if let Some((client, knock)) = pick(session) {
                    let (right, bytes) = knock.packet(*stage);
                    if right != *port {
                        let bytes = bytes.to_vec();
                        let actions = world.actions;
                        world.datagram(&bytes, source(*client, 0), *port);
                        assert_eq!(world.actions, actions);
                    }
                }
            }
            Event::Pass { ms: time } => world.pass(ms(*time)),
            Event::Wall { ms } => world.wall(*ms),
            Event::StoreFails(fails) => world.store.fails = *fails,
            Event::FirewallFails(fails) => world.firewall.fails = *fails,
            Event::HoldStore => {
                world.store.held.get_or_insert_default();
            }
            Event::ReleaseStore => world.release_store(),
            Event::HoldFirewall => world.firewall.held = true,
            Event::ReleaseFirewall => world.release_firewall(),
            Event::CrashIn(actions) => world.crash_in = Some(*actions),
            Event::Restart(stop) => world.restart(*stop),
            Event::Reload => {
                let registry = std::sync::Arc::clone(&world.registry);
                world.reload(registry, world.settings.clone());
            }
        }
    }
}

/// The network is calm, the disk works, the clocks are right: who cannot get in now is locked out.
fn nobody_is_locked_out(world: &mut World, latest_ms: u64) {
    world.crash_in = None;
    world.store.fails = false;
    world.firewall.fails = false;
    world.release_store();
    world.release_firewall();
    // Floors and fences are time stamps that were accepted, or up to 20 s after: past the latest of
    // them all is right.
    let behind = latest_ms.saturating_sub(world.now.unix_ms);
    world.pass(ms(behind));
    let left = world.engine.fence_left(world.now);
    world.pass(left + ms(1));
    for client in 0..3 {
        let knock = world.go(client, &Ask::default(), home4(client));
        assert!(world.has_opened(&knock), "client {client} is locked out");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving(events in prop::collection::vec(event(), 1..120), mark in any::<bool>()) {
        let mut world = World::new(Setup { mark_sequence: mark, ..Setup::default() });
        let mut latest = world.now.unix_ms;
        // The latest wall clock of the run bounds every time stamp that was accepted.
        let mut probe = world.now.unix_ms;
        for event in &events {
            match event {
                Event::Pass { ms } => probe += ms,
                Event::Wall { ms } => probe = probe.saturating_add_signed(*ms),
                _ => {}
            }
            latest = latest.max(probe);
        }
        run(&mut world, &events);
        nobody_is_locked_out(&mut world, latest + 10_000);
    }

    /// Without wall-clock steps the wait is only the fence, at most 20 s.
    #[test]
    fn with_a_steady_clock_the_wait_is_short(events in prop::collection::vec(event(), 1..80)) {
        let steady: Vec<Event> = events.into_iter().filter(|e| !matches!(e, Event::Wall { .. })).collect();
        let mut world = World::new(Setup::default());
        run(&mut world, &steady);
        prop_assert!(world.engine.fence_left(world.now) <= ms(20_000));
        let latest = world.now.unix_ms + 10_000;
        nobody_is_locked_out(&mut world, latest);
    }

    /// Bytes that nobody made.
    #[test]
    fn bytes_of_strangers(packets in prop::collection::vec(
        (prop::collection::vec(any::<u8>(), 0..400), 7000u16..7005), 0..50)
    ) {
        let mut world = World::new(Setup::default());
        for (bytes, port) in &packets {
            world.datagram(bytes, elsewhere(), *port);
        }
        prop_assert_eq!(world.actions, 0);
        prop_assert_eq!(world.engine.counters().strangers(), packets.len() as u64);
    }
}
