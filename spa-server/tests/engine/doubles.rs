//! The store and the firewall, as the daemon would have them, with the faults that real ones have.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use spa_proto::SessionId;
use spa_server::domain::grant::{Grant, GrantError, GrantId};
use spa_server::engine::{Claim, ReplaySnapshot};
use spa_server::firewall::FirewallError;
use spa_server::store::Claims;

/// What survives a crash, and how the disk behaves.
#[derive(Default)]
pub struct Store {
    /// Durable: every time stamp up to here is spent.
    pub mark: u64,
    /// Durable: written by a clean stop, taken away by the start after it.
    pub clean: Option<ReplaySnapshot>,
    pub fails: bool,
    /// Answers only when the test says so.
    pub held: Option<Vec<u64>>,
    /// Every mark asked for.
    pub asked: Vec<u64>,
    /// Sessions that another server of a fleet has used.
    pub used_elsewhere: HashSet<SessionId>,
    claims: Claims,
}

impl Store {
    /// Claims a session; what is decided by now.
    pub fn claim(&mut self, session: SessionId, ts_ms: u64) -> Vec<(SessionId, Claim)> {
        if self.used_elsewhere.contains(&session) {
            return vec![(session, Claim::Used)];
        }
        if self.claims.claim(session, ts_ms) {
            return vec![(session, Claim::Fresh)];
        }
        self.expect(ts_ms)
    }

    /// Writes a mark ahead; what is decided by it.
    pub fn expect(&mut self, ts_ms: u64) -> Vec<(SessionId, Claim)> {
        let mark = self.claims.mark_to_write(ts_ms);
        mark.map_or_else(Vec::new, |mark| self.record(mark))
    }

    fn record(&mut self, mark: u64) -> Vec<(SessionId, Claim)> {
        self.asked.push(mark);
        if let Some(held) = &mut self.held {
            held.push(mark);
            return Vec::new();
        }
        self.write(mark)
    }

    pub fn write(&mut self, mark: u64) -> Vec<(SessionId, Claim)> {
        let claim = if self.fails {
            Claim::Unavailable("disk full".to_owned())
        } else {
            self.mark = self.mark.max(mark);
            Claim::Fresh
        };
        let (decided, next) = self.claims.note_written((!self.fails).then_some(mark));
        let mut outcomes: Vec<_> =
            decided.into_iter().map(|session| (session, claim.clone())).collect();
        outcomes.extend(next.map_or_else(Vec::new, |mark| self.record(mark)));
        outcomes
    }

    /// Takes the mark back for an administrator.
    pub fn take_back(&mut self, mark: u64) {
        self.mark = mark;
        assert!(self.claims.note_written(Some(mark)).0.is_empty());
    }

    /// Forgets what only a running server knows.
    pub fn restart(&mut self) {
        self.claims = Claims::default();
        self.held = self.held.take().map(|_| Vec::new());
    }
}

#[derive(Default)]
pub struct Firewall {
    pub live: BTreeMap<GrantId, (Grant, Duration)>,
    pub banned: HashSet<IpAddr>,
    pub fails: bool,
    /// Answers only when the test says so.
    pub held: bool,
}

impl Firewall {
    pub fn open(&mut self, grant: &Grant, mono: Duration) -> Result<(), GrantError> {
        if self.banned.contains(&grant.source) {
            return Err(GrantError::Banned);
        }
        if self.fails {
            return Err(FirewallError::Missing("gone".to_owned()).into());
        }
        self.live.insert(grant.id, (grant.clone(), mono + grant.ttl));
        Ok(())
    }

    pub fn close(&mut self, ids: &[GrantId]) -> Result<Vec<GrantId>, GrantError> {
        if self.fails {
            return Err(FirewallError::Missing("gone".to_owned()).into());
        }
        for id in ids {
            self.live.remove(id);
        }
        Ok(ids.to_vec())
    }

    pub fn expire(&mut self, mono: Duration) {
        self.live.retain(|_, (_, until)| *until > mono);
    }
}
