//! Long-term keys of server and client.

use ring::signature::{Ed25519KeyPair, KeyPair};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::hash::{hkdf_expand, hkdf_extract, sha256};
use crate::labels;
use crate::signing::{KeyKind, SignError, Signature, Signer, verify_signature};

/// The server's X25519 secret (RFC 7748), 32 bytes.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ServerSecret([u8; 32]);

impl ServerSecret {
    /// The public half.
    #[must_use]
    pub fn public(&self) -> ServerPublic {
        ServerPublic(PublicKey::from(&StaticSecret::from(self.0)).to_bytes())
    }

    /// Agrees on a secret with a public X25519 key; `None` when the result is all zero.
    pub(crate) fn agree(&self, theirs: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        agree(&StaticSecret::from(self.0), theirs)
    }
}

/// The server's X25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerPublic(pub [u8; 32]);

impl ServerPublic {
    /// Tells whether a client may believe in it: the one encoding of its coordinate, and no
    /// small-order point, with which whoever knows the psk would know every key (RFC 7748 section
    /// 6.1).
    #[must_use]
    pub fn is_usable(&self) -> bool {
        // Every scalar is clamped to a multiple of 8, so any of them tells a small-order point.
        below_p(&self.0) && agree(&StaticSecret::from([1; 32]), &self.0).is_some()
    }
}

/// A client's seed: 32 bytes from which its Ed25519 and X25519 secrets are derived with distinct
/// labels.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ClientSecret([u8; 32]);

impl ClientSecret {
    /// Derives 32 bytes under a label.
    pub(crate) fn derive_secret(&self, label: &[u8]) -> Zeroizing<[u8; 32]> {
        hkdf_expand(&hkdf_extract(labels::CLIENT_SECRETS, &self.0), &[label])
    }

    fn dh_secret(&self) -> StaticSecret {
        StaticSecret::from(*self.derive_secret(labels::CLIENT_DH))
    }

    fn signing_pair(&self) -> Option<Ed25519KeyPair> {
        Ed25519KeyPair::from_seed_unchecked(self.derive_secret(labels::CLIENT_SIGN).as_slice()).ok()
    }

    /// Returns both public halves.
    #[must_use]
    pub fn public(&self) -> ClientPublic {
        let mut sign = [0; 32];
        if let Some(pair) = self.signing_pair() {
            sign = crate::hash::to_array(pair.public_key().as_ref());
        }
        ClientPublic {
            sign,
            dh: PublicKey::from(&self.dh_secret()).to_bytes(),
            kind: KeyKind::Ed25519,
        }
    }

    /// Agrees on a secret with the server's key; `None` when the result is all zero.
    pub(crate) fn agree(&self, theirs: &ServerPublic) -> Option<Zeroizing<[u8; 32]>> {
        agree(&self.dh_secret(), &theirs.0)
    }

    /// Derives `k_hedge`, which keeps ephemeral keys apart when random bytes repeat.
    #[must_use]
    pub fn hedge_key(&self) -> HedgeKey {
        HedgeKey(self.derive_secret(labels::CLIENT_HEDGE))
    }

    /// Derives `r`, the share of this new seed in the psk that follows `old`.
    pub(crate) fn psk_share(&self, old: &Psk) -> Zeroizing<[u8; 32]> {
        self.derive_beside(old, labels::CLIENT_SHARE)
    }

    /// Derives `d ‖ z` of this new seed's ML-KEM key, which is used once for the psk that follows
    /// `old`.
    pub(crate) fn kem_seed(&self, old: &Psk) -> Zeroizing<[u8; 64]> {
        self.derive_beside(old, labels::CLIENT_KEM)
    }

    fn derive_beside<const N: usize>(&self, old: &Psk, label: &[u8]) -> Zeroizing<[u8; N]> {
        let seed = hkdf_extract(labels::CLIENT_SECRETS, &self.0);
        hkdf_expand(&seed, &[label, &sha256(&[old.bytes()])])
    }
}

/// `k_hedge`: a secret of the client's seed that is mixed into each ephemeral key (RFC 8937).
#[derive(Clone)]
pub struct HedgeKey(pub(crate) Zeroizing<[u8; 32]>);

impl Signer for ClientSecret {
    fn sign(&self, blob: &[u8]) -> Result<Signature, SignError> {
        let pair = self
            .signing_pair()
            .ok_or_else(|| SignError("the client key gives no Ed25519 key".to_owned()))?;
        Ok(crate::hash::to_array::<64>(pair.sign(blob).as_ref()).into())
    }
}

/// A client's public keys, 64 bytes: Ed25519 then X25519; and what holds the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientPublic {
    /// Ed25519 public key (RFC 8032).
    pub sign: [u8; 32],
    /// X25519 public key (RFC 7748).
    pub dh: [u8; 32],
    /// Kind of the signing half; not among the 64 bytes.
    pub kind: KeyKind,
}

impl ClientPublic {
    /// Reads its 64 bytes, with a plain Ed25519 key.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let (sign, dh) = bytes.split_at(32);
        Self {
            sign: crate::hash::to_array(sign),
            dh: crate::hash::to_array(dh),
            kind: KeyKind::Ed25519,
        }
    }

    /// Replaces the kind of the signing half.
    #[must_use]
    pub fn with_kind(self, kind: KeyKind) -> Self {
        Self { kind, ..self }
    }

    /// Replaces the signing half by one that an agent holds.
    #[must_use]
    pub fn with_signer(self, sign: [u8; 32], kind: KeyKind) -> Self {
        Self { sign, kind, ..self }
    }

    /// Tells whether both are the one encoding of their coordinate: below 2^255 - 19, and the bit
    /// that X25519 ignores is clear. Otherwise one secret would have several public keys, and a
    /// removed client a second name.
    #[must_use]
    pub fn is_canonical(&self) -> bool {
        let mut y = self.sign;
        if let Some(top) = y.last_mut() {
            // The sign of x, which belongs to an Ed25519 key (RFC 8032 section 5.1.2).
            *top &= 0x7f;
        }
        below_p(&y) && below_p(&self.dh)
    }

    /// Returns its 64 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 64] {
        let mut out = [0; 64];
        for (to, from) in out.iter_mut().zip(self.sign.iter().chain(&self.dh)) {
            *to = *from;
        }
        out
    }

    /// Verifies a signature of the client over `blob`.
    pub(crate) fn verify(&self, blob: &[u8], signature: &Signature) -> bool {
        verify_signature(self.kind, &self.sign, blob, signature)
    }
}

/// Tells whether the little-endian number is below p = 2^255 - 19. Public values only: not in
/// constant time.
fn below_p(bytes: &[u8; 32]) -> bool {
    let mut p = [0xff; 32];
    let [first, .., last] = &mut p;
    (*first, *last) = (0xed, 0x7f);
    bytes.iter().rev().lt(p.iter().rev())
}

/// The pre-shared key of one client-server pair, 32 random bytes made at enrolment. It keeps the
/// authentication sound against outsiders even when every Diffie-Hellman secret falls.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Psk([u8; 32]);

/// Implements what every 32-byte secret can do: be made, read, written, compared in constant time,
/// and not be shown.
macro_rules! secret {
    ($($name:ident),*) => {$(
        impl $name {
            /// Makes a fresh one.
            ///
            /// # Errors
            /// When there are no random bytes.
            pub fn generate() -> Result<Self, $crate::random::RandomError> {
                Ok(Self($crate::random::random()?))
            }

            /// Takes its 32 bytes.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Returns its 32 bytes, for a file or an enrolment line.
            #[must_use]
            pub fn to_bytes(&self) -> zeroize::Zeroizing<[u8; 32]> {
                zeroize::Zeroizing::new(self.0)
            }

            #[allow(dead_code, reason = "not every secret is a key of HKDF")]
            pub(crate) fn bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                subtle::ConstantTimeEq::ct_eq(self.0.as_slice(), other.0.as_slice()).into()
            }
        }

        impl Eq for $name {}

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )*};
}
pub(crate) use secret;
secret!(Psk, ClientSecret, ServerSecret);

/// X25519; `None` when the result is non-contributory, that is when the other side sent a
/// small-order point (RFC 7748 section 6.1).
pub(crate) fn agree(ours: &StaticSecret, theirs: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
    let shared = ours.diffie_hellman(&PublicKey::from(*theirs));
    shared.was_contributory().then(|| Zeroizing::new(shared.to_bytes()))
}
