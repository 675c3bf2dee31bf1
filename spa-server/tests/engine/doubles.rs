//! The store and the firewall, as the daemon would have them, with the faults that real ones have.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use spa_server::domain::grant::{Grant, GrantError, GrantId};
use spa_server::engine::{RecordError, Snapshot};
use spa_server::firewall::FirewallError;

/// What survives a crash, and how the disk behaves.
#[derive(Default)]
pub struct Store {
    /// Durable: every time stamp up to here is spent.
    pub mark: u64,
    /// Durable: written by a clean stop, taken away by the start after it.
    pub clean: Option<Snapshot>,
    pub fails: bool,
    /// Answers only when the test says so.
    pub held: Option<Vec<u64>>,
    /// Every mark asked for.
    pub asked: Vec<u64>,
}

impl Store {
    /// `None`: no answer yet.
    pub fn record(&mut self, mark: u64) -> Option<Result<u64, RecordError>> {
        self.asked.push(mark);
        if let Some(held) = &mut self.held {
            held.push(mark);
            return None;
        }
        Some(self.write(mark))
    }

    pub fn write(&mut self, mark: u64) -> Result<u64, RecordError> {
        if self.fails {
            return Err(RecordError("disk full".to_owned()));
        }
        self.mark = self.mark.max(mark);
        Ok(mark)
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
