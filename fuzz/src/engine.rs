//! The whole engine: clients, a network, two clocks, a store and a firewall that fail, crashes. The
//! world is that of `spa-server/tests/engine`, which checks each opening when it is asked for; the
//! count here is kept apart from it, by what came in and what was opened.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use spa_proto::SessionId;

use crate::actors::{Ask, Knock, elsewhere, home4, home6};
use crate::world::{Setup, Stop, World, ms};

/// Events of one run at most: more make slow runs, and nothing new.
const MAX_EVENTS: usize = 150;
/// The world's window, milliseconds.
const PAST_MS: u64 = 30_000;
const FUTURE_MS: u64 = 10_000;
const PROVISIONAL: Duration = Duration::from_secs(10);

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn word(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    /// A number below `limit`.
    fn below(&mut self, limit: usize) -> Option<usize> {
        Some(usize::from(self.byte()?) % limit)
    }

    /// Around zero: mostly small, sometimes far away; milliseconds.
    fn offset(&mut self) -> Option<i64> {
        let scale = [0, 10, 1000, 120_000][self.below(4)?];
        Some(i64::from(self.word()?.cast_signed()) * scale / 32)
    }
}

/// What was opened, by nothing but the lists of openings.
#[derive(Default)]
struct Oracle {
    counted: [usize; 2],
    /// Sessions and addresses that ever had more than a moment.
    lasting: HashSet<(SessionId, IpAddr)>,
    /// First address of each session that had a moment.
    moments: HashMap<SessionId, IpAddr>,
    made_ms: HashMap<SessionId, u64>,
    /// The latest time stamp that can have been accepted.
    latest_ms: u64,
}

impl Oracle {
    fn look(&mut self, world: &World) {
        self.latest_ms = self.latest_ms.max(world.now.unix_ms + FUTURE_MS);
        for (session, grant) in world.provisional.iter().skip(self.counted[0]) {
            assert!(grant.provisional && grant.ttl <= PROVISIONAL, "{grant:?}");
            let first = self.moments.insert(*session, grant.source);
            assert_eq!(first, None, "{session:?} has had its moment");
            assert!(!self.lasting.iter().any(|(of, _)| of == session), "{session:?} is over");
            self.check_window(world, *session);
        }
        for (session, grant) in world.opens.iter().skip(self.counted[1]) {
            // A second CONFIRM with a higher number may renew what the first one has.
            let again = !self.lasting.insert((*session, grant.source));
            assert!(!again || world.numbers.contains_key(session), "{session:?} opens twice");
            if !self.moments.contains_key(session) && !world.numbers.contains_key(session) {
                self.check_window(world, *session);
            }
        }
        self.counted = [world.provisional.len(), world.opens.len()];
    }

    /// A firewall that is slow opens when it can: the past counts when it is asked to. The future
    /// counts when the session is claimed: with the clock set back meanwhile, what was claimed
    /// stays above the clock, and used.
    fn check_window(&self, world: &World, session: SessionId) {
        let (claimed_ms, asked_ms) = (world.claimed_ms[&session], world.asked_ms[&session]);
        let ts_ms = self.made_ms[&session];
        let in_window = ts_ms + PAST_MS >= asked_ms && ts_ms <= claimed_ms + FUTURE_MS;
        assert!(in_window, "{ts_ms}, claimed at {claimed_ms}, asked for at {asked_ms}");
    }
}

fn source(client: usize, from: usize) -> SocketAddr {
    [home4(client), home6(client), home4((client + 1) % 3), elsewhere()][from]
}

/// One run of a server, as the bytes say.
pub(crate) fn engine(data: &[u8]) {
    let mut input = Input(data);
    let Some(flags) = input.byte() else { return };
    let setup = Setup { mark_sequence: flags & 1 != 0, ack: flags & 2 == 0, ..Setup::default() };
    let mut world = World::new(setup);
    world.confirms = flags & 4 == 0;
    let mut oracle = Oracle::default();
    let mut made: Vec<(usize, Knock)> = Vec::new();
    for _ in 0..MAX_EVENTS {
        if run_event(&mut world, &mut oracle, &mut made, &mut input).is_none() {
            break;
        }
        oracle.look(&world);
    }
    if world.settings.ack {
        nobody_is_locked_out(&mut world, &mut oracle);
    }
}

fn run_event(
    world: &mut World,
    oracle: &mut Oracle,
    made: &mut Vec<(usize, Knock)>,
    input: &mut Input<'_>,
) -> Option<()> {
    let event = input.below(16)?;
    let chosen = |input: &mut Input<'_>| {
        let back = input.below(6)?;
        Some(made.len().checked_sub(1 + back).and_then(|at| made.get(at)).cloned())
    };
    match event {
        0 | 1 => {
            let (client, kind, off) = (input.below(3)?, input.byte()?, input.offset()?);
            let base = if kind & 7 == 7 { Ask::close("ssh") } else { Ask::default() };
            let bind_src = (kind & 8 != 0).then(|| home4(client).ip());
            let want_ack = kind & 16 == 0;
            let ts_ms = world.now.unix_ms.saturating_add_signed(off);
            let knock = world.knock_at(client, &Ask { bind_src, want_ack, ..base }, ts_ms);
            oracle.made_ms.insert(knock.id(), ts_ms);
            made.push((client, knock));
        }
        2..=4 => {
            let (chosen, stage, from) = (chosen(input)?, input.below(3)?, input.below(4)?);
            if let Some((client, knock)) = chosen {
                world.stage(&knock, stage, source(client, from));
            }
        }
        5 | 6 => {
            let (chosen, from) = (chosen(input)?, input.below(4)?);
            if let Some((client, knock)) = chosen {
                world.whole(&knock, source(client, from));
            }
        }
        7 => {
            let (chosen, number, from) = (chosen(input)?, input.below(9)?, input.below(4)?);
            if let Some((client, knock)) = chosen {
                let number = u8::try_from(number).unwrap_or(0) + 1;
                world.confirm(&knock, number, source(client, from));
            }
        }
        8 => {
            let (chosen, at, bits) = (chosen(input)?, input.word()?, input.byte()?);
            if let Some((client, knock)) = chosen.filter(|_| bits != 0) {
                let (port, bytes) = knock.packet(usize::from(at) % 3);
                let mut bytes = bytes.to_vec();
                let at = usize::from(at) % bytes.len();
                bytes[at] ^= bits;
                let before = (world.actions, world.opens.len());
                world.datagram(&bytes, source(client, 0), port);
                assert_eq!((world.actions, world.opens.len()), before, "a damaged packet");
            }
        }
        9 => world.pass(ms(u64::from(input.word()?) * [1, 20][usize::from(input.byte()? & 1)])),
        10 => {
            let by = input.offset()?;
            if world.now.unix_ms.checked_add_signed(by).is_some() {
                world.wall(by);
            }
        }
        11 => {
            let bits = input.byte()?;
            (world.store.fails, world.firewall.fails) = (bits & 1 != 0, bits & 2 != 0);
        }
        12 => match input.below(4)? {
            0 => drop(world.store.held.get_or_insert_default()),
            1 => world.release_store(),
            2 => world.firewall.held = true,
            _ => world.release_firewall(),
        },
        13 => world.crash_in = Some(u64::from(input.byte()? % 8) + 1),
        14 => world.restart([Stop::Clean, Stop::Crash, Stop::StoreLost][input.below(3)?]),
        _ => {
            let registry = std::sync::Arc::clone(&world.registry);
            world.reload(registry, world.settings.clone());
        }
    }
    Some(())
}

/// The network is calm, the disk works, the clocks are right: who cannot get in now is locked out.
fn nobody_is_locked_out(world: &mut World, oracle: &mut Oracle) {
    (world.crash_in, world.confirms) = (None, true);
    (world.store.fails, world.firewall.fails) = (false, false);
    world.release_store();
    world.release_firewall();
    world.pass(ms(oracle.latest_ms.saturating_sub(world.now.unix_ms)));
    let left = world.engine.fence_left(world.now);
    world.pass(left + ms(1));
    oracle.look(world);
    for client in 0..3 {
        let knock = world.knock(client, &Ask::default());
        oracle.made_ms.insert(knock.id(), world.now.unix_ms);
        world.whole(&knock, home4(client));
        oracle.look(world);
        assert!(world.has_opened(&knock), "client {client} is locked out");
    }
}
