//! The engine: strangers' bytes in, actions out. No I/O, no clock: every input carries `now`,
//! outputs are drained as [`Action`]s, outcomes are told back ([`Engine::apply_claim`],
//! [`Engine::apply_open_outcome`]).
//!
//! The order of the checks is the table in `docs/protocol.md`: what is cheap comes first, so that a
//! stranger never causes a public-key operation.

mod action;
mod admin;
mod cache;
mod complete;
mod completed;
mod counters;
mod ended;
mod explain;
mod freshness;
mod grants;
mod intake;
mod listing;
mod new_keys;
mod outcome;
mod pending;
mod policy;
mod policy_decision;
mod registry;
mod reload;
mod replay;
mod revoke;
mod sequence;
mod settings;
mod tables;
mod verdict;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use spa_proto::{SessionId, TagTable};

pub use crate::domain::server_key::ServerKeyVersion;
pub use action::{Action, ClientKeyChange, ClockStep, Event, EventKind, KeyReplacement, Revoked};
pub use complete::Claim;
pub use counters::Counters;
pub use explain::{Explanation, KnockQuery, Rule, Says, Situation, explain};
pub use freshness::{Freshness, LONGEST_REACH, ReplaySnapshot, Spent, UnknownPast};
pub use listing::Listed;
pub use new_keys::ReplaceKeysError;
pub use policy::{Role, ServiceTerms, Stanza};
pub(crate) use policy_decision::MAX_SOURCES_WITHOUT_ACK;
pub use registry::{Previous, RegisteredClient, Registry, RegistryError};
pub use sequence::{Ports, Sequence};
pub use settings::Settings;
pub use tables::live_epochs;

use crate::domain::grant::{Grant, GrantId};
use cache::Cache;
use completed::{CompletedSession, EndedSessions};
use grants::GrantBook;
use pending::Pending;
use replay::ReplayCache;
use tables::Tables;

/// The time of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic clock since an origin of the caller's.
    pub mono: Duration,
    /// Wall clock, unix milliseconds. May jump.
    pub unix_ms: u64,
}

/// The state of one server.
pub struct Engine {
    registry: Arc<Registry>,
    settings: Settings,
    tables: Tables,
    cache: Cache,
    pending: HashMap<SessionId, Pending>,
    replay_cache: ReplayCache,
    freshness: Freshness,
    grants: GrantBook,
    /// Completed sessions that are being claimed.
    claiming: HashMap<SessionId, CompletedSession>,
    /// Completed sessions that firewall or key files work on.
    working: HashMap<SessionId, CompletedSession>,
    /// Completed sessions that are decided, while they may be answered again and confirmed.
    ended: EndedSessions,
    /// Grants that are to be closed and that the firewall has not closed yet.
    revoking: Vec<Revoked>,
    actions: VecDeque<Action>,
    counters: Counters,
}

impl Engine {
    /// A server with these clients that starts at `now`. Tag tables of the live epochs are given by
    /// [`Engine::install_table`]; until then every packet is a stranger's.
    #[must_use]
    pub fn new(
        registry: Arc<Registry>,
        settings: Settings,
        mut freshness: Freshness,
        now: Now,
    ) -> Self {
        let mut replay_cache = ReplayCache::default();
        let keep_ms = tables::keep_ms(registry.len(), &settings);
        replay_cache.restore(&freshness.take_restored(), keep_ms, now);
        Self {
            registry,
            settings,
            tables: Tables::default(),
            cache: Cache::default(),
            pending: HashMap::new(),
            replay_cache,
            freshness,
            grants: GrantBook::default(),
            claiming: HashMap::new(),
            working: HashMap::new(),
            ended: EndedSessions::default(),
            revoking: Vec::new(),
            actions: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// The first number for a grant of this run; the store has reserved it.
    pub fn number_from(&mut self, first: GrantId) {
        self.grants.number_from(first);
    }

    /// The highest number given to a grant so far.
    #[must_use]
    pub fn last_grant(&self) -> GrantId {
        self.grants.last_id()
    }

    /// Takes over the grants that are live in the firewall already, with the time that each has
    /// left. Those that nobody may hold any more are closed ([`Action::Revoke`]).
    pub fn adopt(&mut self, grants: impl IntoIterator<Item = (Grant, Duration)>, now: Now) {
        for (grant, left) in grants {
            self.grants.insert_grant(&grant, now.mono.saturating_add(left), true);
        }
        self.revoke_gone(None);
    }

    /// The next thing to do, in order.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Epochs whose tables are needed at `now` or within `ahead` and are not there. Build them off
    /// the hot path with [`Registry::table`].
    #[must_use]
    pub fn missing_tables(&self, now: Now, ahead: Duration) -> Vec<u64> {
        self.tables.missing_epochs(&self.registry, &self.settings, now, ahead)
    }

    /// Installs the table of an epoch, made from the engine's present registry.
    pub fn install_table(&mut self, epoch: u64, table: TagTable) {
        self.tables.install_table(epoch, table);
    }

    /// Builds and installs every missing table here and now: for tests, benches and the start.
    pub fn build_tables(&mut self, now: Now) {
        for epoch in self.missing_tables(now, Duration::ZERO) {
            let table = self.registry.table(epoch, self.settings.sequence.stages());
            self.install_table(epoch, table);
        }
    }

    /// Swaps clients, services and settings. `tables` are those of the new registry. Replay state
    /// and grants stay, but grants of clients and services that are gone are closed
    /// ([`Action::Revoke`]). Sessions in progress go on, but those of clients who are gone or
    /// have other keys; those that the firewall works on are concluded.
    pub fn reload(
        &mut self,
        registry: Arc<Registry>,
        settings: Settings,
        tables: Vec<(u64, TagTable)>,
    ) {
        let before = std::mem::replace(&mut self.registry, registry);
        let stages_before = self.settings.sequence.stages();
        self.settings = settings;
        self.tables = Tables::default();
        for (epoch, table) in tables {
            self.tables.install_table(epoch, table);
        }
        self.migrate_sessions(&before, stages_before);
        self.revoke_gone(Some(&before));
    }

    /// Drops what has timed out. Call it about once a second; correctness does not depend on when.
    pub fn tick(&mut self, now: Now) {
        self.look_at_clocks(now);
        self.expire_pending(now);
        self.replay_cache.expire_entries(now);
        self.ended.expire(now.mono);
        self.grants.expire_grants(now.mono);
        self.revoke_again();
        self.tables.retire_epochs(&self.registry, &self.settings, now);
    }

    /// A copy of the replay state for a clean stop.
    #[must_use]
    pub fn snapshot(&mut self, now: Now) -> ReplaySnapshot {
        self.look_at_clocks(now);
        self.replay_cache.snapshot(self.freshness.unknown_past())
    }

    fn fence_ms(&self, now: Now) -> u64 {
        self.freshness.fence_ms(now)
    }

    /// Looks whether the wall clock has jumped, before anything is decided by it.
    fn look_at_clocks(&mut self, now: Now) {
        if let Some(step) = self.freshness.look_at_clocks(&self.settings, now) {
            self.push_action(Action::NoteClockStep(step));
        }
    }

    /// Counts of packets since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The clients.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Number of live grants, as far as the engine knows; the kernel's word is the truth.
    #[must_use]
    pub fn live_grants(&self) -> usize {
        self.grants.len()
    }

    /// Live grants of each service that has some, as far as the engine knows.
    #[must_use]
    pub fn grants_by_service(&self) -> HashMap<Arc<str>, u64> {
        let mut counts: HashMap<Arc<str>, u64> = HashMap::new();
        for (_, service, _) in self.grants.iter_all() {
            match counts.get_mut(service) {
                Some(count) => *count += 1,
                None => drop(counts.insert(Arc::clone(service), 1)),
            }
        }
        counts
    }

    /// Returns true if a source is in the middle of a sequence.
    #[must_use]
    pub fn in_sequence(&self, source: IpAddr) -> bool {
        self.pending.values().any(|pending| pending.first_source == source)
    }

    fn spend_session(
        &mut self,
        session: SessionId,
        client: [u8; 32],
        ts_ms: u64,
        accepted: bool,
        now: Now,
    ) {
        let keep_ms = tables::keep_ms(self.registry.len(), &self.settings);
        let spent = Spent { client, session, ts_ms, accepted };
        self.replay_cache.spend_session(&spent, keep_ms, now);
    }

    /// Time until the fence lets a knock of this moment pass; zero when it does.
    #[must_use]
    pub fn fence_left(&self, now: Now) -> Duration {
        Duration::from_millis(self.fence_ms(now).saturating_sub(now.unix_ms))
    }

    /// Time by which the clock is behind the replay state: an earlier clock was ahead.
    #[must_use]
    pub fn clock_behind(&self, now: Now) -> Option<Duration> {
        let floor_ms = self.replay_cache.highest_floor_ms();
        let ahead = Duration::from_millis(floor_ms.saturating_sub(now.unix_ms));
        let floor = (ahead > self.settings.window_future).then_some(ahead);
        self.freshness.clock_behind(now).max(floor)
    }

    /// Believes the clock for an administrator. Returns the mark that covers all that may open from
    /// now on; it is to be written in the place of a higher one.
    pub fn accept_clock(&mut self, now: Now) -> u64 {
        self.freshness.accept_clock(&self.settings, now);
        let latest_ms = now.unix_ms.saturating_add(self.settings.future_ms());
        self.replay_cache.drop_floors_above(latest_ms);
        latest_ms
    }

    /// Counts a state that ought to be impossible.
    fn count_internal_error(&mut self) {
        self.counters.internal_errors += 1;
    }

    fn push_action(&mut self, action: Action) {
        self.actions.push_back(action);
    }
}
