//! One server in its world. Every run checks, at every opening: the session never opened before
//! (restarts included), all its stages have come, it is for whom the client named or confirmed, and
//! something durable refuses it from now on.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use spa_proto::SessionId;
use spa_server::domain::grant::{Grant, RevokeReason};
use spa_server::engine::{
    Action, ClockStep, Engine, Event, Freshness, KeyReplacement, Now, Registry, ReplaceKeysError,
    Sequence, ServerKeyVersion, Settings,
};

use crate::actors::{Actor, Knock};
use crate::doubles::{Firewall, Store};
pub use crate::setup::{SECOND, SERVER_SEED, START, Setup, ms, server_secret, services, stanza};

/// How a server stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It wrote its replay state.
    Clean,
    /// kill -9: only what is durable is left.
    Crash,
    /// As a crash, and the store is gone.
    StoreLost,
}

pub struct World {
    pub engine: Engine,
    pub registry: Arc<Registry>,
    pub settings: Settings,
    pub now: Now,
    pub store: Store,
    pub firewall: Firewall,
    pub actors: Vec<Actor>,
    pub log: Vec<Event>,
    /// Answers that had been sent when each line was written.
    pub answered: Vec<usize>,
    pub acks: Vec<(SocketAddr, Vec<u8>)>,
    /// What lasts.
    pub opens: Vec<(SessionId, Grant)>,
    /// What was for a moment.
    pub provisional: Vec<(SessionId, Grant)>,
    pub in_sequence: Vec<IpAddr>,
    pub revoked: Vec<(u64, RevokeReason)>,
    /// New keys that were to be made durable, and what comes of it.
    pub replacements: Vec<KeyReplacement>,
    pub files: Option<Result<(), ReplaceKeysError>>,
    pub seen: Vec<String>,
    pub clock_steps: Vec<ClockStep>,
    /// By which key of the server knocks came, while it has two.
    pub key_sightings: Vec<([u8; 32], ServerKeyVersion)>,
    pub actions: u64,
    /// Crash after this many more actions: the action's effect is there, nobody was told.
    pub crash_in: Option<u64>,
    pub crashes: u32,
    /// Clients confirm what answers tell them.
    pub confirms: bool,
    /// Answers that their clients have still to read.
    pub(crate) heard: VecDeque<(SocketAddr, Vec<u8>)>,
    pub(crate) held: Vec<Action>,
    /// When the engine first asked for an opening, Unix milliseconds.
    pub asked_ms: HashMap<SessionId, u64>,
    /// When it first claimed the session, Unix milliseconds.
    pub claimed_ms: HashMap<SessionId, u64>,
    pub(crate) opened: HashSet<(SessionId, IpAddr)>,
    pub(crate) confirmed: HashSet<(SessionId, IpAddr)>,
    /// The number of each session's last CONFIRM.
    pub(crate) numbers: HashMap<SessionId, u8>,
    pub(crate) made: Vec<Knock>,
    /// Stages that have come, by session and source.
    pub(crate) came: HashMap<(SessionId, IpAddr), HashSet<usize>>,
}

impl World {
    pub fn new(setup: Setup) -> Self {
        let public = server_secret().public();
        let actors: Vec<Actor> =
            setup.stanzas.into_iter().enumerate().map(|(i, s)| Actor::new(i, s, public)).collect();
        let registry =
            Registry::new(server_secret(), services(), actors.iter().map(Actor::enrolled)).unwrap();
        let registry = Arc::new(registry);
        let settings = Settings {
            sequence: Sequence::new(setup.ports, setup.timeout, setup.reorder),
            window_past: Duration::from_secs(30),
            window_future: Duration::from_secs(10),
            ack: setup.ack,
            pair_age: setup.pair_age,
            provisional: setup.provisional,
            mark_sequence: setup.mark_sequence,
        };
        let now = Now { mono: Duration::from_secs(100), unix_ms: setup.start_ms };
        let mut engine = Engine::new(
            Arc::clone(&registry),
            settings.clone(),
            Freshness::unknown(0, Duration::ZERO, Duration::ZERO),
            now,
        );
        engine.build_tables(now);
        Self {
            engine,
            registry,
            settings,
            now,
            store: Store::default(),
            firewall: Firewall::default(),
            actors,
            log: Vec::new(),
            answered: Vec::new(),
            acks: Vec::new(),
            opens: Vec::new(),
            provisional: Vec::new(),
            in_sequence: Vec::new(),
            revoked: Vec::new(),
            replacements: Vec::new(),
            files: None,
            seen: Vec::new(),
            clock_steps: Vec::new(),
            key_sightings: Vec::new(),
            actions: 0,
            crash_in: None,
            crashes: 0,
            confirms: true,
            heard: VecDeque::new(),
            held: Vec::new(),
            asked_ms: HashMap::new(),
            claimed_ms: HashMap::new(),
            opened: HashSet::new(),
            confirmed: HashSet::new(),
            numbers: HashMap::new(),
            made: Vec::new(),
            came: HashMap::new(),
        }
    }

    /// Both clocks go on, a tick at the end.
    pub fn pass(&mut self, time: Duration) {
        self.now.unix_ms += u64::try_from(time.as_millis()).unwrap();
        self.now.mono += time;
        self.tick();
    }

    /// Only the wall clock moves.
    pub fn wall(&mut self, by_ms: i64) {
        self.now.unix_ms = self.now.unix_ms.checked_add_signed(by_ms).unwrap();
        self.tick();
    }

    pub fn tick(&mut self) {
        self.firewall.expire(self.now.mono);
        self.engine.tick(self.now);
        self.engine.build_tables(self.now);
        self.pump();
    }

    pub fn restart(&mut self, stop: Stop) {
        let freshness = match stop {
            Stop::Clean => {
                let snapshot = self.engine.snapshot(self.now);
                self.store.clean = Some(snapshot);
                Freshness::trusted(self.store.clean.take().unwrap())
            }
            Stop::Crash => {
                let reach = self.settings.window_future;
                Freshness::unknown(self.store.mark, self.now.mono, reach)
            }
            Stop::StoreLost => {
                self.store.mark = 0;
                Freshness::unknown(0, self.now.mono, self.settings.window_future)
            }
        };
        self.store.restart();
        self.held.clear();
        self.engine =
            Engine::new(Arc::clone(&self.registry), self.settings.clone(), freshness, self.now);
        let live = self.firewall.live.values();
        let left: Vec<(Grant, Duration)> = live
            .map(|(grant, until)| (grant.clone(), until.saturating_sub(self.now.mono)))
            .collect();
        self.engine.adopt(left, self.now);
        self.engine.build_tables(self.now);
    }

    /// An administrator says that the clock is right.
    pub fn accept_clock(&mut self) {
        let mark = self.engine.accept_clock(self.now);
        self.store.take_back(mark);
    }

    /// Reloads with other settings.
    pub fn reload(&mut self, registry: Arc<Registry>, settings: Settings) {
        let epochs = self.tables_of(&registry, &settings);
        self.registry = Arc::clone(&registry);
        self.settings = settings.clone();
        self.engine.reload(registry, settings, epochs);
        self.pump();
    }

    fn tables_of(
        &self,
        registry: &Registry,
        settings: &Settings,
    ) -> Vec<(u64, spa_proto::TagTable)> {
        let (first, last) =
            spa_server::engine::live_epochs(registry.len(), settings, self.now.unix_ms);
        (first..=last)
            .map(|epoch| (epoch, registry.table(epoch, settings.sequence.stages())))
            .collect()
    }
}
