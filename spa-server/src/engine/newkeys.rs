//! ENROL and REKEY: who may ask, and what is to be durable before the answer.

use std::sync::Arc;

use spa_proto::{Op, Reason, SessionId, Status};

use super::action::Replacement;
use super::policy::Role;
use super::{Action, Engine, EventKind, Now};

/// Why new keys are not on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReplaced {
    /// The old ones may not, or not any more: another device was first, or somebody has revoked
    /// them.
    Refused(String),
    /// The file could not be written.
    Failed(String),
}

impl std::fmt::Display for NotReplaced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(text) | Self::Failed(text) => f.write_str(text),
        }
    }
}

impl Engine {
    /// Whether a complete session is about keys and settled here, or may not go on: an invitation's
    /// that is no ENROL, a client's that is one, and keys whose time is over.
    pub(super) fn about_keys(&mut self, now: Now, session: SessionId) -> bool {
        let Some(finishing) = self.finishing.get(&session) else { return true };
        let Some(view) = self.registry.client_at(finishing.who.client) else { return true };
        let (role, op) = (view.stanza.role, finishing.request.body.op);
        let refused = match (role, op) {
            (Role::Invitation { .. }, Op::Enrol(_)) => None,
            (Role::Invitation { .. }, _) | (_, Op::Enrol(_)) => Some(Reason::Op),
            _ => None,
        };
        let over = match role {
            Role::Invitation { until_ms } | Role::Former { until_ms } => now.unix_ms >= until_ms,
            Role::Client => false,
        };
        if let Some(reason) = refused.or(over.then_some(Reason::Expired)) {
            self.deny_request(now, session, reason);
            return true;
        }
        if op.new_keys().is_some() {
            if let Err(reason) = self.request_replacement(now, session) {
                self.deny_request(now, session, reason);
            }
            return true;
        }
        // The client has its new keys for certain: the former ones, perhaps stolen, are of no use
        // any more.
        if role == Role::Client && self.registry.former_keys_of(view.name).is_some() {
            let client = Arc::clone(&finishing.name);
            self.push_action(Action::Seen { client });
        }
        false
    }

    fn request_replacement(&mut self, now: Now, session: SessionId) -> Result<(), Reason> {
        let finishing = self.finishing.get(&session).ok_or(Reason::Op)?;
        let view = self.registry.client_at(finishing.who.client).ok_or(Reason::Op)?;
        let source = finishing.to.ip();
        view.stanza.admits_new_keys(source, now.unix_ms)?;
        let (registry, who) = (&self.registry, finishing.who);
        let active =
            self.cache.active_client(registry, who.client, now.mono).ok_or(Reason::NewKeys)?;
        let keys = active.derive_keys(registry, who).ok_or(Reason::NewKeys)?;
        let pair = keys.pair_key(registry, who).ok_or(Reason::NewKeys)?;
        // By the key that the client came by, since both sides derive the new psk with it.
        let server = registry.server_secret(who.by).ok_or(Reason::NewKeys)?;
        let successor = finishing.keys.successor(server, pair, &finishing.request, source);
        let successor = successor.map_err(|_| Reason::NewKeys)?;
        let former = matches!(view.stanza.role, Role::Former { .. });
        let current = self.registry.client_named(view.name).map(|current| *current.public);
        if former && current == Some(successor.public) {
            // Its answer was lost, and it asks again with the same keys: they are what it has.
            self.replaced(now, session, Ok(()));
            return Ok(());
        }
        // Nobody gets a key that is somebody's, and former keys have had their successor.
        if former || self.registry.has_public_key(&successor.public) {
            return Err(Reason::NewKeys);
        }
        let keys = Replacement {
            client: Arc::clone(&finishing.name),
            invited: matches!(view.stanza.role, Role::Invitation { .. }),
            old: *view.public,
            new: successor.public,
            psk: successor.psk,
            evidence: finishing.keys.evidence(&finishing.request, source),
        };
        self.push_action(Action::Replace { session, keys });
        Ok(())
    }

    /// The outcome of [`Action::Replace`].
    pub fn replaced(&mut self, now: Now, session: SessionId, outcome: Result<(), NotReplaced>) {
        match outcome {
            Err(NotReplaced::Refused(_)) => self.deny_request(now, session, Reason::Op),
            Err(NotReplaced::Failed(why)) => self.fail_request(now, session, Reason::Store, why),
            Ok(()) => {
                let Some(finishing) = self.finishing.remove(&session) else { return };
                let enrolled = matches!(finishing.request.body.op, Op::Enrol(_));
                let kind = if enrolled { EventKind::Enrolled } else { EventKind::Rekeyed };
                let answer = (Status::Granted, Reason::None, 0);
                self.conclude_session(now, session, &finishing, kind, answer, None);
            }
        }
    }
}
