//! Keys that a session by one key of the server is made from.

use spa_keys::{HostLine, Identity};
use spa_proto::{Context, PairKeys, TagKey};

/// Keys of a session by one key of the server.
pub(crate) struct SessionKeys {
    /// Enrolment line with that key.
    pub(crate) line: HostLine,
    /// Context of the pair, from both public keys.
    pub(super) context: Context,
    /// Key of the tags.
    pub(super) tag: TagKey,
    /// Keys of the pair.
    pub(crate) pair: PairKeys,
}

impl SessionKeys {
    /// Derives the keys; nothing when the server's key is not usable.
    pub(super) fn derive_keys(line: HostLine, secret: &Identity) -> Option<Self> {
        let context = Context::new(&line.server, &secret.public());
        let tag = TagKey::derive(&line.psk, &context);
        let pair = PairKeys::of_client(&line.psk, secret.secret(), &line.server, &context)?;
        Some(Self { line, context, tag, pair })
    }
}
