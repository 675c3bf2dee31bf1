//! Keys that a session by one key of the server is made from.

use spa_keys::{HostLine, Identity};
use spa_proto::{Context, GateKeys, NewKeys, PairKey, Psk, SessionParts};

/// Keys of a session by one key of the server.
pub(crate) struct SessionKeys {
    /// Enrolment line with that key.
    pub(crate) line: HostLine,
    context: Context,
    gate: GateKeys,
    pair: PairKey,
}

impl SessionKeys {
    /// Derives the keys; nothing when the server's key is not usable.
    pub(super) fn derive_keys(line: HostLine, secret: &Identity) -> Option<Self> {
        let context = Context::new(&line.server, &secret.public());
        let gate = GateKeys::derive(&line.psk, &context);
        let pair = PairKey::of_client(&line.psk, secret.secret(), &line.server, &context)?;
        Some(Self { line, context, gate, pair })
    }

    /// Derives the psk of a new pair, as far as this pair decides it.
    pub(super) fn derive_psk(&self, new: &NewKeys<'_>) -> Option<Psk> {
        new.psk(&self.line.server, &self.pair)
    }

    /// Borrows the parts of a session that this client signs.
    pub(super) fn session_parts<'a>(&'a self, signer: &'a Identity) -> SessionParts<'a> {
        SessionParts {
            server: &self.line.server,
            context: &self.context,
            gate: &self.gate,
            pair: &self.pair,
            signer,
        }
    }
}
