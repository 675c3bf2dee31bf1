//! ENROL and REKEY: the permission to ask, and the replacement to make durable before the ack.

use std::sync::Arc;

use spa_proto::{Op, Reason};

use super::action::KeyReplacement;
use super::completed::CompletedSession;
use super::policy::Role;
use super::policy_decision::Decision;
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
        let (authentic, source) = (&completed.authentic, completed.ask.reply_path.to.ip());
        let role = view.stanza.role;
        view.stanza.admits_new_keys(source, now.unix_ms)?;
        let wanted = authentic.request.body.op.new_keys().ok_or(Reason::Op)?;
        if role == Role::Client && !view.stanza.rotation(view.public).allows(view.public, &wanted) {
            return Err(Reason::Kind);
        }
        let (registry, peer) = (&self.registry, authentic.peer);
        let server = registry.server_secret(peer.by).ok_or(Reason::NewKeys)?;
        let (old, psk, request) = (view.public, view.psk, &authentic.request);
        let successor = authentic.keys.successor(server, old, psk, request);
        let successor = successor.map_err(|_| Reason::NewKeys)?;
        let former = matches!(role, Role::Former { .. });
        let current = registry.client_named(view.name);
        // The same keys again, by whichever key of the server: what this session leads to must be
        // what is stored, or the client would be told of a psk that nobody has.
        if former
            && current.is_some_and(|current| {
                (current.public, current.psk) == (&successor.public, &successor.psk)
            })
        {
            return Ok(Decision::ConfirmReplaced);
        }
        // Nobody gets a key that is somebody's, and former keys have had their successor. Its own
        // signing key, with another X25519 half, is a client's to keep.
        if former || registry.is_anothers(&successor.public, view.public) {
            return Err(Reason::NewKeys);
        }
        Ok(Decision::Replace(KeyReplacement {
            client: Arc::clone(&completed.client),
            invited: matches!(role, Role::Invitation { .. }),
            old: *view.public,
            new: successor.public,
            psk: successor.psk,
            evidence: authentic.keys.evidence(&authentic.request),
        }))
    }
}
