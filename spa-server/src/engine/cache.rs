//! Keys and budgets of the clients that knocked lately. Bounded: what falls out is derived again.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use spa_proto::{Context, GateKeys, PairKey, SessionId};

use super::budget::{BAD_SIGNATURE_LOG_RATE, Bucket, SESSION_RATE};
use super::registry::{By, PeerId, Registry};

/// Clients per generation; two generations are kept.
const MAX_CLIENTS_PER_GENERATION: usize = 4096;
/// Sessions with a wrong signature that are remembered per client.
const MAX_BAD_SESSIONS: usize = 64;

/// What belongs to a client and one key of the server.
pub(super) struct SessionKeys {
    by: By,
    pub(super) context: Context,
    pub(super) gate: GateKeys,
    /// Made at the first packet that passes the gate: one X25519, then kept.
    pair: Option<PairKey>,
}

impl SessionKeys {
    /// The pair's static key.
    pub(super) fn pair_key(&mut self, registry: &Registry, who: PeerId) -> Option<&PairKey> {
        if self.pair.is_none() {
            let view = registry.client_at(who.client)?;
            self.pair = PairKey::of_server(
                view.psk,
                registry.server_secret(who.by)?,
                view.public,
                &self.context,
            );
        }
        self.pair.as_ref()
    }
}

/// What is kept of a client while it is active. By whichever of the server's keys it comes, the
/// budgets are the same.
pub(super) struct Active {
    keys: Vec<SessionKeys>,
    /// Pays for sessions never seen before.
    pub(super) fresh: Bucket,
    /// Pays for sessions whose signature was wrong before: whoever replays those from another
    /// address empties this bucket and not the one that the real client needs.
    pub(super) again: Bucket,
    /// Pays for lines about wrong signatures.
    lines: Bucket,
    /// Those sessions.
    pub(super) refused: VecDeque<SessionId>,
}

impl Active {
    /// What belongs to it and this key of the server, derived when it is not there.
    pub(super) fn derive_keys(
        &mut self,
        registry: &Registry,
        who: PeerId,
    ) -> Option<&mut SessionKeys> {
        let at = match self.keys.iter().position(|keys| keys.by == who.by) {
            Some(at) => at,
            None => {
                let view = registry.client_at(who.client)?;
                let context = Context::new(registry.public_of(who.by)?, view.public);
                let gate = GateKeys::derive(view.psk, &context);
                self.keys.push(SessionKeys { by: who.by, context, gate, pair: None });
                self.keys.len() - 1
            }
        };
        self.keys.get_mut(at)
    }

    pub(super) fn remember_bad_signature(&mut self, session: SessionId) -> bool {
        if self.refused.contains(&session) {
            return false;
        }
        if self.refused.len() >= MAX_BAD_SESSIONS {
            self.refused.pop_front();
        }
        self.refused.push_back(session);
        true
    }

    /// Whether a wrong signature gets a line in the log: whoever stole psk and pair key makes new
    /// sessions without end, each of them with a wrong signature, and must not fill the disk.
    pub(super) fn may_log_bad_signature(&mut self, session: SessionId, now: Duration) -> bool {
        self.remember_bad_signature(session) && self.lines.take_token(now)
    }
}

/// Active clients by index: a young and an old generation, so that forgetting costs nothing per
/// packet.
#[derive(Default)]
pub(super) struct Cache {
    young: HashMap<u32, Box<Active>>,
    old: HashMap<u32, Box<Active>>,
}

impl Cache {
    /// The active state of a client, made when it is not there.
    pub(super) fn active_client(
        &mut self,
        registry: &Registry,
        client: u32,
        now: Duration,
    ) -> Option<&mut Active> {
        if !self.young.contains_key(&client) {
            let active = match self.old.remove(&client) {
                Some(active) => active,
                None => {
                    registry.client_at(client)?;
                    Box::new(Active {
                        keys: Vec::with_capacity(1),
                        fresh: Bucket::new_full(SESSION_RATE, now),
                        again: Bucket::new_full(SESSION_RATE, now),
                        lines: Bucket::new_full(BAD_SIGNATURE_LOG_RATE, now),
                        refused: VecDeque::new(),
                    })
                }
            };
            if self.young.len() >= MAX_CLIENTS_PER_GENERATION {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(client, active);
        }
        self.young.get_mut(&client).map(|active| &mut **active)
    }
}
