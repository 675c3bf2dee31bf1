//! Spent sessions: what opened, was refused or ran out of time never works again.
//!
//! Only completely verified sessions enter, so strangers cannot fill it. A session is kept until
//! its tag is no longer live, by the monotonic clock; then the client's floor rises to its time
//! stamp, so an accepted knock stays refused whatever the wall clock does.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use spa_proto::SessionId;

use super::Now;
use super::freshness::{Snapshot, Spent};

/// Most spent sessions remembered per client; the one with the oldest time stamp makes room and
/// raises the floor.
const PER_CLIENT: usize = 1024;

/// A client's signing key, which outlives reloads.
pub(super) type ClientKey = [u8; 32];

pub(super) struct SpentSession {
    client: ClientKey,
    ts_ms: u64,
    /// It opened or may have; false: refused without effect.
    accepted: bool,
    until: Duration,
    /// Where it completed from: copies from there are the client's own resends.
    home: Option<IpAddr>,
    told: bool,
}

impl SpentSession {
    /// Whether the source is the one that the session was completed from.
    pub(super) fn is_home(&self, source: IpAddr) -> bool {
        self.home == Some(source)
    }

    /// Its time stamp minus our clock, milliseconds.
    pub(super) fn skew_ms(&self, now: Now) -> i64 {
        super::pending::signed_difference(self.ts_ms, now.unix_ms)
    }

    /// True once: a replay is logged once per session, or whoever holds a copy could fill the disk.
    pub(super) fn tell_once(&mut self) -> bool {
        !std::mem::replace(&mut self.told, true)
    }
}

/// Spent sessions and floors.
#[derive(Default)]
pub(super) struct ReplayCache {
    sessions: HashMap<SessionId, SpentSession>,
    ends: BTreeSet<(Duration, SessionId)>,
    /// The sessions of each client by time stamp.
    clients: HashMap<ClientKey, BTreeSet<(u64, SessionId)>>,
    /// Kept for ever, so apart from what only active clients have: 40 bytes for each client that
    /// ever knocked.
    floors: HashMap<ClientKey, u64>,
}

impl ReplayCache {
    pub(super) fn get_entry(&mut self, session: SessionId) -> Option<&mut SpentSession> {
        self.sessions.get_mut(&session)
    }

    /// Time stamps up to this one are refused for the client.
    pub(super) fn floor_ms(&self, client: &ClientKey) -> u64 {
        self.floors.get(client).copied().unwrap_or(0)
    }

    /// Spends a session.
    pub(super) fn spend_session(
        &mut self,
        session: SessionId,
        client: ClientKey,
        ts_ms: u64,
        accepted: bool,
        keep_ms: u64,
        now: Now,
    ) {
        // As long as its tag is live, if the wall clock just goes on: a copy of a refused session
        // that were forgotten sooner would cost public-key operations and its client's
        // budget each time it comes.
        let left = ts_ms.saturating_add(keep_ms).saturating_sub(now.unix_ms).saturating_add(1);
        let until = now.mono.saturating_add(Duration::from_millis(left));
        if let Some(known) = self.sessions.get_mut(&session) {
            known.accepted |= accepted;
            return;
        }
        let of = self.clients.entry(client).or_default();
        // By time stamp, not by arrival: the floor rises no further than it must, and a session
        // whose time stamp lies ahead, made by a clock that was wrong, does not shut out
        // those of the right one.
        let oldest = if of.len() >= PER_CLIENT { of.first().copied() } else { None };
        of.insert((ts_ms, session));
        self.sessions.insert(
            session,
            SpentSession { client, ts_ms, accepted, until, home: None, told: false },
        );
        self.ends.insert((until, session));
        if let Some((_, oldest)) = oldest {
            // Whatever it was: only its own client can push it out, and pays with its floor.
            if let Some(entry) = self.sessions.get_mut(&oldest) {
                entry.accepted = true;
            }
            self.evict_session(oldest);
        }
    }

    pub(super) fn set_home(&mut self, session: SessionId, source: IpAddr) {
        if let Some(entry) = self.sessions.get_mut(&session) {
            entry.home = Some(source);
        }
    }

    /// Forgets what has left the window, raising floors.
    pub(super) fn expire_entries(&mut self, now: Now) {
        while let Some((until, session)) = self.ends.first().copied() {
            if until > now.mono {
                break;
            }
            self.evict_session(session);
        }
    }

    fn evict_session(&mut self, session: SessionId) {
        let Some(entry) = self.sessions.remove(&session) else { return };
        self.ends.remove(&(entry.until, session));
        if entry.accepted {
            self.raise_floor(entry.client, entry.ts_ms);
        }
        if let Some(of) = self.clients.get_mut(&entry.client) {
            of.remove(&(entry.ts_ms, session));
            if of.is_empty() {
                self.clients.remove(&entry.client);
            }
        }
    }

    fn raise_floor(&mut self, client: ClientKey, ts_ms: u64) {
        let floor_ms = self.floors.entry(client).or_default();
        *floor_ms = ts_ms.max(*floor_ms);
    }

    pub(super) fn snapshot(&self, fence_ms: u64) -> Snapshot {
        let spent = self.sessions.iter().map(|(session, entry)| Spent {
            client: entry.client,
            session: *session,
            ts_ms: entry.ts_ms,
            accepted: entry.accepted,
        });
        let floors = self.floors.iter().map(|(client, floor_ms)| (*client, *floor_ms));
        Snapshot { spent: spent.collect(), floors: floors.collect(), fence_ms }
    }

    pub(super) fn restore(&mut self, snapshot: &Snapshot, keep_ms: u64, now: Now) {
        for (client, floor_ms) in &snapshot.floors {
            self.raise_floor(*client, *floor_ms);
        }
        for spent in &snapshot.spent {
            self.spend_session(
                spent.session,
                spent.client,
                spent.ts_ms,
                spent.accepted,
                keep_ms,
                now,
            );
        }
    }
}
