//! Claims of sessions at the store of this machine: a mark that is written ahead answers for every
//! session up to it. Pure.

use spa_proto::SessionId;

/// The mark is written ahead in steps of this many milliseconds: one disk write covers every knock
/// up to it.
const MARK_STEP_MS: u64 = 10_000;

/// The durable mark, and the claims that wait for it.
#[derive(Debug, Default)]
pub struct Claims {
    durable_ms: u64,
    asked_ms: Option<u64>,
    /// Sessions and their time stamps, in the order in which they came.
    waiting: Vec<(SessionId, u64)>,
}

impl Claims {
    /// The mark to write so that sessions of this time stamp can be claimed; `None` when that is
    /// done or under way.
    pub fn mark_to_write(&mut self, ts_ms: u64) -> Option<u64> {
        if ts_ms <= self.durable_ms || self.asked_ms.is_some() {
            return None;
        }
        let mark = (ts_ms / MARK_STEP_MS).saturating_add(1).saturating_mul(MARK_STEP_MS);
        self.asked_ms = Some(mark);
        Some(mark)
    }

    /// Claims a session: true when whatever happens refuses it from now on, false when it waits.
    pub fn claim(&mut self, session: SessionId, ts_ms: u64) -> bool {
        let durable = ts_ms <= self.durable_ms;
        if !durable {
            self.waiting.push((session, ts_ms));
        }
        durable
    }

    /// The write that was asked for has ended: the mark that is durable now, or none. Returns the
    /// sessions that this decides, and the mark to write for the others.
    pub fn note_written(&mut self, durable_ms: Option<u64>) -> (Vec<SessionId>, Option<u64>) {
        self.asked_ms = None;
        // Not the highest so far: an administrator may have had it taken back.
        self.durable_ms = durable_ms.unwrap_or(self.durable_ms);
        let mut decided = std::mem::take(&mut self.waiting);
        if durable_ms.is_some() {
            self.waiting = decided.extract_if(.., |(_, ts_ms)| *ts_ms > self.durable_ms).collect();
        }
        let next = self.waiting.iter().map(|(_, ts_ms)| *ts_ms).max();
        let next = next.and_then(|ts_ms| self.mark_to_write(ts_ms));
        (decided.into_iter().map(|(session, _)| session).collect(), next)
    }
}
