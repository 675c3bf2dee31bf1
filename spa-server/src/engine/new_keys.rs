//! ENROL and REKEY: the permission to ask, and the replacement to make durable before the ack.

use std::sync::Arc;

use spa_keys::whole_millis;
use spa_proto::{KemCiphertext, KemRandom, Op, Reason, Successor};

use super::action::KeyReplacement;
use super::completed::CompletedSession;
use super::pending::AuthenticRequest;
use super::policy::Role;
use super::policy_decision::Decision;
use super::registry::{ClientView, Registry};
use super::{Action, Engine, Now};
use crate::domain::rotation::Rotation;

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
        let invitation = matches!(self, Self::Invitation { .. } | Self::Taken { .. });
        if invitation != matches!(op, Op::Enrol(_)) {
            return Err(Reason::Op);
        }
        match self {
            Self::Invitation { until_ms }
            | Self::Taken { until_ms }
            | Self::Former { until_ms }
                if unix_ms >= until_ms =>
            {
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

    /// Tells whether a client that is let in should take new keys: its psk is of age, and it may.
    pub(super) fn wants_new_keys(&self, now: Now, completed: &CompletedSession) -> bool {
        let Some(age) = self.settings.pair_age else { return false };
        let authentic = &completed.authentic;
        let opens = matches!(authentic.request.body.op, Op::Open | Op::Renew);
        let Some(view) = self.registry.client_at(authentic.peer.client) else { return false };
        opens
            && !completed.gone
            && view.stanza.role == Role::Client
            && view.stanza.rotation(view.public) != Rotation::Never
            && now.unix_ms.saturating_sub(view.since_ms) >= whole_millis(age)
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
        let registry = &self.registry;
        let former = matches!(role, Role::Former { .. } | Role::Taken { .. });
        // Asked again, what this session leads to must be what is stored.
        let random = match (&authentic.kem, former) {
            (None, _) => None,
            (Some(_), true) => Some(view.kem.cloned().ok_or(Reason::NewKeys)?),
            (Some(_), false) => Some(KemRandom::generate().map_err(|_| Reason::NewKeys)?),
        };
        let (successor, ciphertext) = derive_successor(registry, authentic, view, random.as_ref())?;
        let current = registry.client_named(view.name);
        // The same keys again, by whichever key of the server: the client would else be told of a
        // psk that nobody has.
        if former
            && current.is_some_and(|current| {
                (current.public, current.psk) == (&successor.public, &successor.psk)
            })
        {
            return Ok(Decision::ConfirmReplaced(ciphertext));
        }
        // Nobody gets a key that is somebody's, and former keys have had their successor. Its own
        // signing key, with another X25519 half, is a client's to keep.
        if former || registry.is_anothers(&successor.public, view.public) {
            return Err(Reason::NewKeys);
        }
        let keys = KeyReplacement {
            client: Arc::clone(&completed.client),
            invited: matches!(role, Role::Invitation { .. }),
            old: *view.public,
            new: successor.public,
            psk: successor.psk,
            kem: random,
            evidence: authentic.keys.evidence(&authentic.request),
        };
        Ok(Decision::Replace(keys, ciphertext))
    }
}

/// Derives the keys that a request proves and asks for, and what makes their psk at the client.
fn derive_successor(
    registry: &Registry,
    authentic: &AuthenticRequest,
    view: ClientView<'_>,
    random: Option<&KemRandom>,
) -> Result<(Successor, Option<KemCiphertext>), Reason> {
    let server = registry.server_secret(authentic.peer.by).ok_or(Reason::NewKeys)?;
    let (keys, request) = (&authentic.keys, &authentic.request);
    let derived = match authentic.kem.as_ref().zip(random) {
        Some((kem, random)) => keys
            .successor_by_kem(server, view.public, view.psk, request, kem, random)
            .map(|(successor, ciphertext)| (successor, Some(ciphertext))),
        None => keys
            .successor(server, view.public, view.psk, request)
            .map(|successor| (successor, None)),
    };
    derived.map_err(|_| Reason::NewKeys)
}
