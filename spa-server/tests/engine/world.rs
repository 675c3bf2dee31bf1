//! One server in its world. Every run checks, at every opening: the session never opened before
//! (restarts included), all its stages came from the source that is let in, and something durable
//! refuses it from now on.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use spa_proto::{Ack, HopKey, HopPlan, MAX_CONFIRMS, ServerSecret, SessionId};
use spa_server::domain::datagram::Datagram;
use spa_server::domain::grant::RevokeReason;
use spa_server::domain::grant::{Grant, GrantId, Scope};
use spa_server::engine::{
    Action, By, Engine, Event, Freshness, KeyReplacement, Now, Ports, Registry, ReplaceKeysError,
    Sequence, Service, Settings, Stanza,
};

use crate::actors::{Actor, Ask, Knock, addr, elsewhere};
use crate::doubles::{Firewall, Store};

/// 2026-11-23 12:00:00 UTC, a Monday, at the start of a tag epoch and of a hop epoch.
pub const START: u64 = 1_795_435_200_000;
pub const SECOND: Duration = Duration::from_secs(1);

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What a world is made of.
pub struct Setup {
    pub ports: Ports,
    pub stanzas: Vec<Stanza>,
    pub timeout: Duration,
    pub reorder: Duration,
    pub ack: bool,
    pub mark_sequence: bool,
    pub start_ms: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            ports: Ports::Fixed(vec![7001, 7002, 7003]),
            stanzas: vec![stanza(); 3],
            timeout: Duration::from_secs(30),
            reorder: ms(200),
            ack: true,
            mark_sequence: false,
            start_ms: START + 5_000,
        }
    }
}

impl Setup {
    pub fn stages(n: u16) -> Self {
        Self { ports: Ports::Fixed((0..n).map(|i| 7001 + i).collect()), ..Self::default() }
    }

    pub fn hopping() -> Self {
        let plan = HopPlan::new(20_000, 30_000, 3, vec![(22_000, 22_010)]).unwrap();
        Self { ports: Ports::Hop(plan, HopKey::of_server(&server_secret())), ..Self::default() }
    }

    pub fn with(stanza: Stanza) -> Self {
        Self { stanzas: vec![stanza], ..Self::default() }
    }
}

/// May use `ssh`, `web` and `all`.
pub fn stanza() -> Stanza {
    Stanza { services: vec!["ssh".into(), "web".into(), "all".into()], ..Stanza::default() }
}

pub fn server_secret() -> ServerSecret {
    ServerSecret::from_bytes([77; 32])
}

pub fn services() -> Vec<Service> {
    let service = |name: &str, scope| Service {
        name: name.into(),
        scope,
        ttl: Duration::from_secs(600),
        max_ttl: Duration::from_secs(1800),
    };
    let ports = |text: &str| Scope::Ports(Arc::from([text.parse().unwrap()]));
    vec![
        service("ssh", ports("tcp/22")),
        service("web", ports("tcp/443")),
        service("other", ports("tcp/1")),
        service("all", Scope::All),
    ]
}

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
    /// By which key of the server knocks came, while it has two.
    pub key_sightings: Vec<([u8; 32], By)>,
    pub actions: u64,
    /// Crash after this many more actions: the action's effect is there, nobody was told.
    pub crash_in: Option<u64>,
    pub crashes: u32,
    held: Vec<Action>,
    opened: HashSet<(SessionId, IpAddr)>,
    confirmed: HashSet<(SessionId, IpAddr)>,
    /// The number of each session's last CONFIRM.
    numbers: HashMap<SessionId, u8>,
    /// Clients confirm what answers tell them.
    pub confirms: bool,
    made: HashMap<SessionId, (u64, usize)>,
    came: HashMap<(SessionId, IpAddr), HashSet<usize>>,
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
            provisional: Duration::from_secs(10),
            mark_sequence: setup.mark_sequence,
        };
        let now = Now { mono: Duration::from_secs(100), unix_ms: setup.start_ms };
        let mut engine =
            Engine::new(Arc::clone(&registry), settings.clone(), Freshness::fenced(0), now);
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
            acks: Vec::new(),
            opens: Vec::new(),
            provisional: Vec::new(),
            in_sequence: Vec::new(),
            revoked: Vec::new(),
            replacements: Vec::new(),
            files: None,
            seen: Vec::new(),
            key_sightings: Vec::new(),
            actions: 0,
            crash_in: None,
            crashes: 0,
            held: Vec::new(),
            opened: HashSet::new(),
            confirmed: HashSet::new(),
            numbers: HashMap::new(),
            confirms: true,
            made: HashMap::new(),
            came: HashMap::new(),
        }
    }

    /// The ports that a client with this clock would knock at.
    pub fn ports(&self, ts_ms: u64) -> Vec<u16> {
        match self.settings.sequence.ports() {
            Ports::Fixed(ports) => ports.clone(),
            Ports::Hop(plan, key) => plan.ports(key, HopPlan::epoch_of(ts_ms)),
        }
    }

    pub fn knock(&mut self, client: usize, ask: &Ask) -> Knock {
        self.knock_at(client, ask, self.now.unix_ms)
    }

    pub fn knock_at(&mut self, client: usize, ask: &Ask, ts_ms: u64) -> Knock {
        let knock = self.actors[client].knock(ask, &self.ports(ts_ms), ts_ms);
        self.know(&knock);
        knock
    }

    pub fn know(&mut self, knock: &Knock) {
        self.made.insert(knock.id(), (knock.session.ts_ms(), knock.stages()));
    }

    /// One stage arrives, with all that it sets off.
    pub fn stage(&mut self, knock: &Knock, stage: usize, source: SocketAddr) {
        let (port, bytes) = knock.packet(stage);
        self.came.entry((knock.id(), source.ip())).or_default().insert(stage);
        let before = self.acks_to(knock, source).len();
        self.datagram(bytes, source, port);
        let new = self.acks_to(knock, source);
        // Its own client confirms; who copies its packets cannot.
        if self.confirms && source.ip() != elsewhere().ip() && new.len() > before {
            let number = 1 + self.numbers.get(&knock.id()).copied().unwrap_or(0);
            if new.last().is_some_and(|ack| ack.provisional) && number <= MAX_CONFIRMS {
                self.confirm(knock, number, source);
            }
        }
    }

    /// All stages arrive in order.
    pub fn whole(&mut self, knock: &Knock, source: SocketAddr) {
        for stage in 0..knock.stages() {
            self.stage(knock, stage, source);
        }
    }

    /// The client's CONFIRM of its own address arrives from there.
    pub fn confirm(&mut self, knock: &Knock, number: u8, source: SocketAddr) {
        self.confirm_from(knock, number, source.ip(), source);
    }

    /// A CONFIRM of an address arrives from a source.
    pub fn confirm_from(&mut self, knock: &Knock, number: u8, address: IpAddr, source: SocketAddr) {
        let (port, bytes) = knock.confirm(number, address);
        self.confirmed.insert((knock.id(), address));
        self.numbers.insert(knock.id(), number);
        self.datagram(&bytes, source, port);
    }

    /// The answers that a source has had to a knock, oldest first.
    pub fn acks_to(&self, knock: &Knock, source: SocketAddr) -> Vec<Ack> {
        let to_it = self.acks.iter().filter(|(to, _)| *to == source);
        to_it.filter_map(|(_, bytes)| Some(knock.session.open_ack(bytes)?.0)).collect()
    }

    /// Makes and delivers a knock; returns it for replays.
    pub fn go(&mut self, client: usize, ask: &Ask, source: SocketAddr) -> Knock {
        let knock = self.knock(client, ask);
        self.whole(&knock, source);
        knock
    }

    pub fn datagram(&mut self, bytes: &[u8], source: SocketAddr, port: u16) {
        let ip = if source.is_ipv4() { "203.0.113.1:0" } else { "[2001:db8:ffff::1]:0" };
        let mut destination = addr(ip);
        destination.set_port(port);
        self.engine.handle(self.now, Datagram { source, destination, payload: bytes, link: None });
        self.pump();
    }

    pub fn pump(&mut self) {
        while let Some(action) = self.engine.poll() {
            self.actions += 1;
            let dies = self.crash_in.as_mut().is_some_and(|left| {
                *left = left.saturating_sub(1);
                *left == 0
            });
            self.perform(action, !dies);
            if dies {
                self.crash_in = None;
                self.crashes += 1;
                self.restart(Stop::Crash);
            }
        }
    }

    fn perform(&mut self, action: Action, tell: bool) {
        match action {
            Action::Record(mark) => {
                let outcome = self.store.record(mark);
                if let (Some(outcome), true) = (outcome, tell) {
                    self.engine.apply_record_outcome(self.now, outcome);
                }
            }
            Action::Open { session, ref grant, ref ends } => {
                self.check_opening(session, grant);
                if self.firewall.held {
                    self.held.push(action);
                    return;
                }
                self.open(session, &grant.clone(), &ends.clone(), tell);
            }
            Action::Close { session, ref grants } => {
                if self.firewall.held {
                    self.held.push(action);
                    return;
                }
                let outcome = self.firewall.close(grants);
                if tell {
                    self.engine.apply_close_outcome(self.now, session, outcome);
                }
            }
            Action::Replace { session, keys } => {
                let outcome = self.files.clone().unwrap_or(Ok(()));
                self.replacements.push(keys);
                if tell {
                    self.engine.apply_replace_outcome(self.now, session, outcome);
                }
            }
            Action::ConfirmKeys { client } => self.seen.push(client.to_string()),
            Action::NoteServerKey { client, by } => self.key_sightings.push((client, by)),
            Action::Revoke(revoked) => {
                let outcome = self.firewall.close(&[revoked.grant]).map(drop);
                if tell && outcome.is_ok() {
                    self.engine.confirm_revocation(revoked.grant);
                }
                self.revoked.push((revoked.grant.0, revoked.why));
            }
            Action::InSequence { source, .. } => self.in_sequence.push(source),
            Action::Ack { reply_path, bytes } => {
                assert_eq!(reply_path.from.is_ipv4(), reply_path.to.is_ipv4());
                assert!(self.settings.ack, "an ack though acks are off");
                self.acks.push((reply_path.to, bytes));
            }
            Action::Log(event) => self.log.push(event),
        }
    }

    fn open(&mut self, session: SessionId, grant: &Grant, ends: &[GrantId], tell: bool) {
        let outcome = self.firewall.open(grant, self.now.mono);
        if outcome.is_ok() {
            self.firewall.close(ends).unwrap();
        }
        if outcome.is_ok() {
            let of = if grant.provisional { &mut self.provisional } else { &mut self.opens };
            of.push((session, grant.clone()));
        }
        if tell {
            self.engine.apply_open_outcome(self.now, session, outcome);
        }
    }

    fn check_opening(&mut self, session: SessionId, grant: &Grant) {
        let (ts_ms, stages) = self.made[&session];
        assert!(self.store.mark >= ts_ms, "opens before the store refuses it");
        assert!(grant.ttl >= SECOND);
        let confirmed = self.confirmed.contains(&(session, grant.source));
        if grant.provisional || !confirmed {
            let first = self.opened.insert((session, grant.source));
            assert!(first, "{session:?} opens a second time");
            let of_session = self.opened.iter().filter(|(of, _)| *of == session).count();
            let most = if self.settings.ack { 1 } else { 4 };
            assert!(of_session <= most, "{session:?} opens for {of_session} sources");
        }
        let came = self.came.iter().filter(|((of, _), _)| *of == session);
        let came: HashSet<usize> = came.flat_map(|(_, stages)| stages).copied().collect();
        assert_eq!(came.len(), stages, "opens without all stages");
        if !confirmed {
            let last = self.came.get(&(session, grant.source));
            let by_stage = last.is_some_and(|came| came.contains(&(stages - 1)) || stages > 1);
            let bound = grant.provisional || by_stage || grant.client.contains(':');
            assert!(bound, "opens for {}, which has sent nothing", grant.source);
        }
    }

    /// The store answers all that it was asked.
    pub fn release_store(&mut self) {
        for mark in self.store.held.take().unwrap_or_default() {
            let outcome = self.store.write(mark);
            self.engine.apply_record_outcome(self.now, outcome);
            self.pump();
        }
    }

    /// The firewall does all that it was asked.
    pub fn release_firewall(&mut self) {
        self.firewall.held = false;
        for action in std::mem::take(&mut self.held) {
            match action {
                Action::Open { session, grant, ends } => self.open(session, &grant, &ends, true),
                Action::Close { session, grants } => {
                    let outcome = self.firewall.close(&grants);
                    self.engine.apply_close_outcome(self.now, session, outcome);
                }
                _ => {}
            }
            self.pump();
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
                Freshness::clean(self.store.clean.take().unwrap())
            }
            Stop::Crash => Freshness::fenced(self.store.mark),
            Stop::StoreLost => {
                let freshness = Freshness::unknown(self.now.unix_ms, &self.settings);
                // A new store begins with the fence as its mark: the next crash must not forget it.
                self.store.mark = freshness.first_mark_ms();
                freshness
            }
        };
        self.store.held = self.store.held.take().map(|_| Vec::new());
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
