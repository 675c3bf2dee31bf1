//! ENROL and REKEY: new keys take the place of an invitation's or of a client's own, and prove that
//! somebody holds them. `docs/protocol.md`, "New keys", has the argument.
//!
//! ```text
//! r     = Expand(Extract("SPA/1 client", seed'), "SPA/2 client share" ‖ H(psk), 32)
//! psk'  = Expand(Extract(psk, r ‖ ks), "SPA/2 new psk" ‖ cid ‖ cid', 32)
//! p     = Expand(Extract(psk, X25519(x', pk_S)), "SPA/2 new proof" ‖ ctx' ‖ eh, 32)
//! proof = Sign(sk', SSHSIG("spa-v2-new",
//!                          H(ctx' ‖ ctx ‖ eh ‖ body ‖ p ‖ r ‖ H(ek) or zeros ‖ src16 or zeros)))
//! ```
//! Without an ML-KEM key (`kem.rs`) `ks` is 32 zeros.
//! The server's key is in none of what makes `psk'`: a repetition by the other one of two server
//! keys ends in the same psk.

use zeroize::Zeroizing;

use crate::hash::{hkdf_expand, hkdf_extract, sha256};
use crate::kem::{KemCiphertext, KemPublic, KemSecret};
use crate::keys::{ClientPublic, ClientSecret, Psk, ServerPublic};
use crate::labels;
use crate::layout::BODY_LEN;
use crate::pair::{Context, client_id};
use crate::signing::Signer;
use crate::sshsig;

/// The new keys of an ENROL or REKEY, as the client holds them.
pub struct NewKeys<'a> {
    /// Public keys that the server will know; names the signer's key and the secret's X25519 half.
    pub public: ClientPublic,
    /// Gives the X25519 half and the share.
    pub secret: &'a ClientSecret,
    /// Holds the signing half.
    pub signer: &'a dyn Signer,
    /// Public keys of the old pair, or of the invitation.
    pub old: ClientPublic,
    /// Psk of the old pair, or of the invitation.
    pub old_psk: &'a Psk,
}

impl NewKeys<'_> {
    /// The pair's new pre-shared key. It depends on the old psk and on the keys alone, so every try
    /// with the same new keys ends in the same one: an answer that is lost leaves nobody with half
    /// a key.
    #[must_use]
    pub fn psk(&self) -> Psk {
        derive_psk(self.old_psk, &self.share(), &NO_KEM, &self.old, &self.public)
    }

    /// The pair's new pre-shared key after a session with an ML-KEM key, from the ciphertext of
    /// its answer. An answer to another request gives another psk.
    #[must_use]
    pub fn psk_by_kem(&self, ciphertext: &KemCiphertext) -> Psk {
        let shared = self.kem_secret().decapsulate(ciphertext);
        derive_psk(self.old_psk, &self.share(), &shared, &self.old, &self.public)
    }

    /// The ML-KEM key of these new keys.
    pub(crate) fn kem_secret(&self) -> KemSecret {
        KemSecret::from_seed(&self.secret.kem_seed(self.old_psk))
    }

    /// `r`, the client's share in the new psk.
    pub(crate) fn share(&self) -> Zeroizing<[u8; 32]> {
        self.secret.psk_share(self.old_psk)
    }

    /// `p`, which only a holder of the new X25519 half, or the server, can put under the proof.
    /// `None` for a small-order point.
    pub(crate) fn proof_key(
        &self,
        server: &ServerPublic,
        eh: &[u8; 32],
    ) -> Option<Zeroizing<[u8; 32]>> {
        let shared = self.secret.agree(server)?;
        Some(derive_proof_key(self.old_psk, &shared, &Context::new(server, &self.public), eh))
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
    /// The ML-KEM key is none (FIPS 203 section 7.2), or there is one where none belongs, or none
    /// where one does.
    #[error("the ML-KEM key is missing, not possible, or has no place in the request")]
    Kem,
}

/// `ks` without an ML-KEM key.
pub(crate) const NO_KEM: [u8; 32] = [0; 32];

/// Derives `psk'`.
pub(crate) fn derive_psk(
    old_psk: &Psk,
    share: &[u8; 32],
    shared: &[u8; 32],
    old: &ClientPublic,
    new: &ClientPublic,
) -> Psk {
    let mut shares = Zeroizing::new([0; 64]);
    for (to, from) in shares.iter_mut().zip(share.iter().chain(shared)) {
        *to = *from;
    }
    let prk = hkdf_extract(old_psk.bytes(), shares.as_slice());
    Psk::from_bytes(*hkdf_expand(&prk, &[labels::NEW_PSK, &client_id(old), &client_id(new)]))
}

/// Derives `p`.
pub(crate) fn derive_proof_key(
    old_psk: &Psk,
    shared: &[u8; 32],
    new: &Context,
    eh: &[u8; 32],
) -> Zeroizing<[u8; 32]> {
    hkdf_expand(&hkdf_extract(old_psk.bytes(), shared), &[labels::NEW_PROOF, &new.0, eh])
}

/// Inputs of the proof of new keys, beside the session that brings it.
pub(crate) struct ProofParts<'a> {
    /// Context of server and new keys.
    pub(crate) new: &'a Context,
    /// Context of the old pair.
    pub(crate) old: &'a Context,
    /// `p`.
    pub(crate) proof_key: &'a [u8; 32],
    /// `r`.
    pub(crate) share: &'a [u8; 32],
    /// `ek`.
    pub(crate) kem: Option<&'a KemPublic>,
}

impl ProofParts<'_> {
    /// The SSHSIG blob that the new signing key signs.
    pub(crate) fn signed_data(
        &self,
        eh: &[u8; 32],
        body: &[u8; BODY_LEN],
        src16: &[u8; 16],
    ) -> Vec<u8> {
        let kem = self.kem.map_or(NO_KEM, |key| sha256(&[key.bytes()]));
        sshsig::signed_data(
            labels::NEW_KEYS_NAMESPACE,
            &[&self.new.0, &self.old.0, eh, body, self.proof_key, self.share, &kem, src16],
        )
    }
}
