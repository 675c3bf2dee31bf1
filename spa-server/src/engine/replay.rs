//! Spent sessions: what opened, was refused or ran out of time never works again.
//!
//! Only completely verified sessions enter, so strangers cannot fill it. A session that opened
//! leaves for lack of room only, and its client's floor then rises to its time stamp: whatever the
//! wall clock does, an accepted knock stays refused. One that opened nothing leaves when its tag is
//! no longer live.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use spa_proto::SessionId;

use super::Now;
use super::freshness::{ReplaySnapshot, Spent, UnknownPast};

/// Most spent sessions remembered per client; the one with the oldest time stamp makes room and
/// raises the floor.
const MAX_PER_CLIENT: usize = 1024;
/// Most sessions that opened remembered in all.
const MAX_ACCEPTED: usize = 65_536;

/// A client's signing key, which outlives reloads.
pub(super) type SigningKeyBytes = [u8; 32];

/// A session that never works again.
pub(super) struct SpentSession {
    client: SigningKeyBytes,
    ts_ms: u64,
    /// It opened or may have; false: refused without effect.
    accepted: bool,
    /// When it may leave, if it opened nothing.
    until: Duration,
    /// Where it completed from: copies from there are the client's own resends.
    home: Option<IpAddr>,
    told: bool,
}

impl SpentSession {
    /// Returns true for the source that the session was completed from.
    pub(super) fn is_home(&self, source: IpAddr) -> bool {
        self.home == Some(source)
    }

    /// Time stamp minus our clock, milliseconds.
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
    /// Those that opened nothing, by when they may leave.
    refused: BTreeSet<(Duration, SessionId)>,
    /// Those that opened, by time stamp.
    accepted: BTreeSet<(u64, SessionId)>,
    /// The sessions of each client by time stamp.
    clients: HashMap<SigningKeyBytes, BTreeSet<(u64, SessionId)>>,
    /// Kept for ever, so apart from what only active clients have: 40 bytes for each client that
    /// ever knocked.
    floors: HashMap<SigningKeyBytes, u64>,
}

impl ReplayCache {
    /// Finds a spent session.
    pub(super) fn get_entry(&mut self, session: SessionId) -> Option<&mut SpentSession> {
        self.sessions.get_mut(&session)
    }

    /// Time stamps up to this one are refused for the client.
    pub(super) fn floor_ms(&self, client: &SigningKeyBytes) -> u64 {
        self.floors.get(client).copied().unwrap_or(0)
    }

    /// The latest floor.
    pub(super) fn highest_floor_ms(&self) -> u64 {
        self.floors.values().copied().max().unwrap_or(0)
    }

    /// Forgets floors above this time.
    pub(super) fn drop_floors_above(&mut self, limit_ms: u64) {
        self.floors.retain(|_, floor_ms| *floor_ms <= limit_ms);
    }

    /// Spends a session. `keep_ms` is how long after its time stamp its tag may be live.
    pub(super) fn spend_session(&mut self, spent: &Spent, keep_ms: u64, now: Now) {
        let Spent { client, session, ts_ms, accepted } = *spent;
        if let Some(known) = self.sessions.get_mut(&session) {
            if accepted && !known.accepted {
                known.accepted = true;
                self.refused.remove(&(known.until, session));
                self.accepted.insert((known.ts_ms, session));
            }
            return;
        }
        // A copy of a refused session that were forgotten sooner would cost public-key operations
        // and its client's budget each time it comes.
        let left = ts_ms.saturating_add(keep_ms).saturating_sub(now.unix_ms).saturating_add(1);
        let until = now.mono.saturating_add(Duration::from_millis(left));
        let of = self.clients.entry(client).or_default();
        // By time stamp, not by arrival: the floor rises no further than it must, and a session
        // whose time stamp lies ahead, made by a clock that was wrong, does not shut out
        // those of the right one.
        let oldest = if of.len() >= MAX_PER_CLIENT { of.first().copied() } else { None };
        of.insert((ts_ms, session));
        if accepted {
            self.accepted.insert((ts_ms, session));
        } else {
            self.refused.insert((until, session));
        }
        self.sessions.insert(
            session,
            SpentSession { client, ts_ms, accepted, until, home: None, told: false },
        );
        // Whatever it was: only its own client can push it out, and pays with its floor.
        if let Some((_, oldest)) = oldest {
            self.evict_session(oldest, true);
        }
        if self.accepted.len() > MAX_ACCEPTED
            && let Some((_, oldest)) = self.accepted.first().copied()
        {
            self.evict_session(oldest, true);
        }
    }

    /// Notes the source that a session was completed from.
    pub(super) fn set_home(&mut self, session: SessionId, source: IpAddr) {
        if let Some(entry) = self.sessions.get_mut(&session) {
            entry.home = Some(source);
        }
    }

    /// Forgets what opened nothing and whose tag is no longer live.
    pub(super) fn expire_entries(&mut self, now: Now) {
        while let Some((until, session)) = self.refused.first().copied() {
            if until > now.mono {
                break;
            }
            self.evict_session(session, false);
        }
    }

    fn evict_session(&mut self, session: SessionId, raises_floor: bool) {
        let Some(entry) = self.sessions.remove(&session) else { return };
        self.refused.remove(&(entry.until, session));
        self.accepted.remove(&(entry.ts_ms, session));
        if raises_floor {
            self.raise_floor(entry.client, entry.ts_ms);
        }
        if let Some(of) = self.clients.get_mut(&entry.client) {
            of.remove(&(entry.ts_ms, session));
            if of.is_empty() {
                self.clients.remove(&entry.client);
            }
        }
    }

    fn raise_floor(&mut self, client: SigningKeyBytes, ts_ms: u64) {
        let floor_ms = self.floors.entry(client).or_default();
        *floor_ms = ts_ms.max(*floor_ms);
    }

    /// Copies the spent sessions and floors for a clean stop.
    pub(super) fn snapshot(&self, unknown: UnknownPast) -> ReplaySnapshot {
        let spent = self.sessions.iter().map(|(session, entry)| Spent {
            client: entry.client,
            session: *session,
            ts_ms: entry.ts_ms,
            accepted: entry.accepted,
        });
        let floors = self.floors.iter().map(|(client, floor_ms)| (*client, *floor_ms));
        ReplaySnapshot { spent: spent.collect(), floors: floors.collect(), unknown }
    }

    /// Takes in what a clean stop has left. `keep_ms`: for how long a refused session stays.
    pub(super) fn restore(&mut self, snapshot: &ReplaySnapshot, keep_ms: u64, now: Now) {
        for (client, floor_ms) in &snapshot.floors {
            self.raise_floor(*client, *floor_ms);
        }
        for spent in &snapshot.spent {
            self.spend_session(spent, keep_ms, now);
        }
    }
}
