//! Who signs a session, and what comes back: plain Ed25519, or Ed25519 by a FIDO2 security key.
//!
//! A security key signs as OpenSSH's `sk-ssh-ed25519@openssh.com` does (OpenSSH PROTOCOL.u2f,
//! "signature format"):
//!
//! ```text
//! SHA-256("ssh:") 32 | flags u8 | counter u32 | SHA-256(the SSHSIG blob) 32
//! ```

use ring::signature::{ED25519, UnparsedPublicKey};

use crate::hash::sha256;
use crate::labels;

/// Bytes of [`Touch`] on the wire.
pub(crate) const TOUCH_LEN: usize = 5;

/// The user touched the key (WebAuthn level 2 section 6.1, bit 0 of the flags).
const USER_PRESENT: u8 = 0x01;
/// Other flags that may be set: user verified (bit 2), backup eligible and backed up (bits 3
/// and 4). Reserved bits, attested data and extensions would mean that something else was signed
/// than what is verified here.
const ALLOWED_FLAGS: u8 = USER_PRESENT | 0x04 | 0x08 | 0x10;

/// Kind of a client's signing half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum KeyKind {
    /// An Ed25519 key (RFC 8032), in a file or an agent.
    #[default]
    Ed25519,
    /// `sk-ssh-ed25519@openssh.com` with the application `ssh:`: a FIDO2 security key, one touch
    /// per signature.
    SecurityKey,
}

impl KeyKind {
    /// Returns its word in logs and lists.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::SecurityKey => "security-key",
        }
    }
}

/// Statement of a security key that it signs along: flags and counter, 5 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Touch {
    /// Flags of the authenticator; bit 0, the user was present, is always set.
    pub flags: u8,
    /// Number of signatures that the key has made, by its own count; some keys always say 0.
    pub counter: u32,
}

impl Touch {
    /// Checks flags and counter as an agent tells them. `None` without a touch, or with flags that
    /// no signature of this kind has.
    #[must_use]
    pub fn new(flags: u8, counter: u32) -> Option<Self> {
        (flags & USER_PRESENT != 0 && flags & !ALLOWED_FLAGS == 0)
            .then_some(Self { flags, counter })
    }

    /// Tells whether the user proved to the key who they are (PIN, fingerprint), beyond touching
    /// it.
    #[must_use]
    pub fn user_verified(self) -> bool {
        self.flags & 0x04 != 0
    }

    /// Reads the 5 bytes of the wire.
    pub(crate) fn decode(bytes: [u8; TOUCH_LEN]) -> Option<Self> {
        let [flags, counter @ ..] = bytes;
        Self::new(flags, u32::from_be_bytes(counter))
    }

    /// Returns the 5 bytes of the wire.
    pub(crate) fn encode(self) -> [u8; TOUCH_LEN] {
        let [a, b, c, d] = self.counter.to_be_bytes();
        [self.flags, a, b, c, d]
    }
}

/// Signature with the touch that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// 64 bytes (RFC 8032).
    pub bytes: [u8; 64],
    /// Touch, of a security key only.
    pub touch: Option<Touch>,
}

impl From<[u8; 64]> for Signature {
    /// A plain Ed25519 signature.
    fn from(bytes: [u8; 64]) -> Self {
        Self { bytes, touch: None }
    }
}

impl Signature {
    /// Returns the kind of key that makes such a signature.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        if self.touch.is_some() { KeyKind::SecurityKey } else { KeyKind::Ed25519 }
    }
}

/// Reason why a signer made no signature, as a sentence for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SignError(pub String);

/// Maker of the signature of a session: a key in memory, one in an agent, or a security key
/// behind an agent.
pub trait Signer {
    /// Signs the SSHSIG blob (OpenSSH PROTOCOL.sshsig, "signed data").
    ///
    /// # Errors
    /// [`SignError`] when the signer refused or is not there.
    fn sign(&self, blob: &[u8]) -> Result<Signature, SignError>;

    /// Returns the kind of the key; the signatures must be of the same kind.
    fn kind(&self) -> KeyKind {
        KeyKind::Ed25519
    }
}

/// Verifies that `signature` is one over `blob` by the key `sign` of this kind. A signature of the
/// other kind never is.
pub(crate) fn verify_signature(
    kind: KeyKind,
    sign: &[u8; 32],
    blob: &[u8],
    signature: &Signature,
) -> bool {
    let key = UnparsedPublicKey::new(&ED25519, sign);
    match (kind, signature.touch) {
        (KeyKind::Ed25519, None) => key.verify(blob, &signature.bytes).is_ok(),
        (KeyKind::SecurityKey, Some(touch)) => {
            key.verify(&security_key_data(touch, blob), &signature.bytes).is_ok()
        }
        _ => false,
    }
}

/// Builds what a security key signs when it is asked to sign `blob`, 69 bytes.
pub(crate) fn security_key_data(touch: Touch, blob: &[u8]) -> Vec<u8> {
    let application = sha256(&[labels::SK_APPLICATION]);
    [&application[..], &touch.encode(), &sha256(&[blob])].concat()
}
