//! ENROL and REKEY: the permission to ask, and the replacement to make durable before the ack.

use std::sync::Arc;

use spa_proto::{Op, Reason};

use super::action::KeyReplacement;
use super::complete::{CompletedSession, Decision};
use super::policy::Role;
use super::registry::ClientView;
use super::{Action, Engine, Now};

/// Failure to make new keys durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplaceKeysError {
    /// The old ones may not, or not any more: another device was first, or somebody has revoked
    /// them.
    Refused(String),
    /// The file could not be written.
    Failed(String),
}

impl std::fmt::Display for ReplaceKeysError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(text) | Self::Failed(text) => f.write_str(text),
        }
    }
}

impl Role {
    /// Checks that keys of this role may ask for an operation, and may still ask at all.
    pub(super) fn check_op(self, op: &Op, unix_ms: u64) -> Result<(), Reason> {
        let invitation = matches!(self, Self::Invitation { .. });
        if invitation != matches!(op, Op::Enrol(_)) {
            return Err(Reason::Op);
        }
        match self {
            Self::Invitation { until_ms } | Self::Former { until_ms } if unix_ms >= until_ms => {
                Err(Reason::Expired)
            }
            _ => Ok(()),
        }
    }
}

impl Engine {
    /// Confirms a client's new keys: the former ones, perhaps stolen, are of no use any more.
    pub(super) fn confirm_new_keys(&mut self, view: ClientView<'_>) {
        if view.stanza.role == Role::Client && self.registry.former_keys_of(view.name).is_some() {
            self.push_action(Action::ConfirmKeys { client: view.name.into() });
        }
    }

    /// Decides a request for new keys.
    pub(super) fn decide_replacement(
        &mut self,
        now: Now,
        completed: &CompletedSession,
        view: ClientView<'_>,
    ) -> Result<Decision, Reason> {
        let (authentic, source) = (&completed.authentic, completed.reply_path.to.ip());
        let role = view.stanza.role;
        view.stanza.admits_new_keys(source, now.unix_ms)?;
        let (registry, peer) = (&self.registry, authentic.peer);
        let active = self.cache.active_client(registry, peer.client, now.mono);
        let keys = active.and_then(|active| active.derive_keys(registry, peer));
        let pair = keys.and_then(|keys| keys.pair_key(registry, peer));
        // By the key that the client came by, since both sides derive the new psk with it.
        let server = registry.server_secret(peer.by).ok_or(Reason::NewKeys)?;
        let pair = pair.ok_or(Reason::NewKeys)?;
        let successor = authentic.keys.successor(server, pair, &authentic.request, source);
        let successor = successor.map_err(|_| Reason::NewKeys)?;
        let former = matches!(role, Role::Former { .. });
        let current = registry.client_named(view.name).map(|current| *current.public);
        if former && current == Some(successor.public) {
            return Ok(Decision::ConfirmReplaced);
        }
        // Nobody gets a key that is somebody's, and former keys have had their successor.
        if former || registry.has_public_key(&successor.public) {
            return Err(Reason::NewKeys);
        }
        Ok(Decision::Replace(KeyReplacement {
            client: Arc::clone(&completed.client),
            invited: matches!(role, Role::Invitation { .. }),
            old: *view.public,
            new: successor.public,
            psk: successor.psk,
            evidence: authentic.keys.evidence(&authentic.request, source),
        }))
    }
}
