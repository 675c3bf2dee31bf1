//! ENROL and REKEY: new keys take the place of an invitation's or of a client's own, and prove that
//! somebody holds them. `docs/protocol.md`, "New keys", has the argument.
//!
//! ```text
//! k_new = Extract(k_cs, X25519(x', pk_S))        ctx' = the context of server and new keys
//! psk'  = Expand(k_new, "SPA/1 new psk" ‖ ctx', 32)
//! p     = Expand(k_new, "SPA/1 new proof" ‖ ctx' ‖ eh, 32)
//! proof = Sign(sk', SSHSIG("spa-v1-new", H(ctx' ‖ ctx ‖ eh ‖ body ‖ src16 ‖ p)))
//! ```

use ring::hkdf::Prk;
use zeroize::Zeroizing;

use crate::hash::{hkdf_expand, hkdf_extract};
use crate::keys::{ClientPublic, ClientSecret, Psk, ServerPublic};
use crate::labels;
use crate::layout::BODY_LEN;
use crate::pair::{Context, PairKey};
use crate::signing::Signer;
use crate::sshsig;

/// The new keys of an ENROL or REKEY, as the client holds them.
pub struct NewKeys<'a> {
    /// Public keys that the server will know; names the signer's key and the secret's X25519 half.
    pub public: ClientPublic,
    /// Gives the X25519 half.
    pub secret: &'a ClientSecret,
    /// Holds the signing half.
    pub signer: &'a dyn Signer,
}

impl NewKeys<'_> {
    /// The pair's new pre-shared key. It depends on the old pair and on the new keys alone, so
    /// every try with the same new keys ends in the same one: an ack that is lost leaves nobody
    /// with half a key. `None` when the server's key is a small-order point.
    #[must_use]
    pub fn psk(&self, server: &ServerPublic, old: &PairKey) -> Option<Psk> {
        Some(self.derive_link(server, old)?.psk())
    }

    /// Computes the link from the old pair; `None` for a small-order point.
    pub(crate) fn derive_link(&self, server: &ServerPublic, old: &PairKey) -> Option<Link> {
        Some(Link::new(old, &*self.secret.agree(server)?, Context::new(server, &self.public)))
    }
}

/// Keys that a server gives a client that has proved its new keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Successor {
    /// The new public keys.
    pub public: ClientPublic,
    /// The pair's new pre-shared key.
    pub psk: Psk,
}

/// Reason why new keys are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NewKeysError {
    /// The request brings none.
    #[error("the request brings no new keys")]
    None,
    /// They are the old ones.
    #[error("the new keys are the old ones")]
    Same,
    /// The new X25519 key is a small-order point (RFC 7748 section 6.1).
    #[error("the new X25519 key is a small-order point")]
    Point,
    /// The proof is not one by the holder of both new keys, for this session.
    #[error("the new keys are not proved to be the sender's")]
    Proof,
}

/// Derives the new pair from the old one: who computes it holds the old pair's key and one side's
/// X25519 half of the new.
pub(crate) struct Link {
    k_new: Prk,
    new: Context,
}

impl Link {
    /// Derives the link from the old pair and the shared secret.
    pub(crate) fn new(old: &PairKey, shared: &[u8; 32], new: Context) -> Self {
        Self { k_new: hkdf_extract(old.bytes(), shared), new }
    }

    /// Returns the new pair's pre-shared key.
    pub(crate) fn psk(&self) -> Psk {
        Psk::from_bytes(*hkdf_expand(&self.k_new, &[labels::NEW_PSK, &self.new.0]))
    }

    /// Computes what only a holder of the new X25519 half (or the server) can put under the proof.
    pub(crate) fn p(&self, eh: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        hkdf_expand(&self.k_new, &[labels::NEW_PROOF, &self.new.0, eh])
    }

    /// The SSHSIG blob that the new signing key signs.
    pub(crate) fn signed_data(
        &self,
        old: &Context,
        eh: &[u8; 32],
        body: &[u8; BODY_LEN],
        src16: &[u8; 16],
    ) -> Vec<u8> {
        let p = self.p(eh);
        sshsig::signed_data(
            labels::NEW_KEYS_NAMESPACE,
            &[&self.new.0, &old.0, eh, body, src16, &*p],
        )
    }
}
