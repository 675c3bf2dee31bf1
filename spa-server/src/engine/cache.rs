//! Keys and budgets of the clients that knocked lately. Bounded: what falls out is derived again.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use spa_proto::{Context, GateKeys, PairKey, SessionId};

use super::budget::{Bucket, LINES, SESSIONS};
use super::registry::Registry;

/// Clients per generation; two generations are kept.
const GENERATION: usize = 4096;
/// Sessions with a wrong signature that are remembered per client.
const REFUSED: usize = 64;

/// What is kept of a client while it is active.
pub(super) struct Active {
    pub(super) context: Context,
    pub(super) gate: GateKeys,
    /// Made at the first packet that passes the gate: one X25519, then kept.
    pub(super) pair: Option<PairKey>,
    /// Pays for sessions never seen before.
    pub(super) fresh: Bucket,
    /// Pays for sessions whose signature was wrong before: whoever replays those from another address empties
    /// this bucket and not the one that the real client needs.
    pub(super) again: Bucket,
    /// Pays for lines about wrong signatures.
    lines: Bucket,
    /// Those sessions.
    pub(super) refused: VecDeque<SessionId>,
}

impl Active {
    pub(super) fn refuse(&mut self, session: SessionId) -> bool {
        if self.refused.contains(&session) {
            return false;
        }
        if self.refused.len() >= REFUSED {
            self.refused.pop_front();
        }
        self.refused.push_back(session);
        true
    }

    /// Whether a wrong signature gets a line in the log: whoever stole psk and pair key makes new sessions without
    /// end, each of them with a wrong signature, and must not fill the disk.
    pub(super) fn tell(&mut self, session: SessionId, now: Duration) -> bool {
        self.refuse(session) && self.lines.take(now)
    }
}

/// Active clients by index: a young and an old generation, so that forgetting costs nothing per packet.
#[derive(Default)]
pub(super) struct Cache {
    young: HashMap<u32, Box<Active>>,
    old: HashMap<u32, Box<Active>>,
}

impl Cache {
    /// The active state of a client, made when it is not there.
    pub(super) fn of(&mut self, registry: &Registry, client: u32, now: Duration) -> Option<&mut Active> {
        if !self.young.contains_key(&client) {
            let active = match self.old.remove(&client) {
                Some(active) => active,
                None => {
                    let view = registry.client(client)?;
                    let context = Context::new(registry.public(), view.public);
                    Box::new(Active {
                        context,
                        gate: GateKeys::derive(view.psk, &context),
                        pair: None,
                        fresh: Bucket::full(SESSIONS, now),
                        again: Bucket::full(SESSIONS, now),
                        lines: Bucket::full(LINES, now),
                        refused: VecDeque::new(),
                    })
                }
            };
            if self.young.len() >= GENERATION {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(client, active);
        }
        self.young.get_mut(&client).map(|active| &mut **active)
    }
}
