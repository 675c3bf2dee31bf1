//! A secret key under a passphrase: Argon2id (RFC 9106) makes the key of one ChaCha20-Poly1305 box
//! (RFC 8439).
//!
//! ```text
//! SPA-LOCKED-KEY-1…, big-endian:
//! version u8 = 1 | what u8 (1 client, 2 server) | memory KiB u32 | passes u8 | lanes u8 | salt 16
//! | public key (64 or 32) | sealed: secret 32, authenticator 16
//! ```
//! All in front of the box is its associated data behind `"SPA/1 locked key"`: nobody who lacks the
//! passphrase can lower its cost or put another public key in front. The nonce is 0: salt and so
//! key are fresh for each box.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use spa_proto::RandomError;
use zeroize::Zeroizing;

use crate::key::secret::Secret;
use crate::text::{self, Kind, SecretText, TextError};

const FORMAT_VERSION: u8 = 1;
/// Bytes of a salt.
pub(super) const SALT_LEN: usize = 16;
const SEALED_LEN: usize = 32 + 16;
const AAD_LABEL: &[u8] = b"SPA/1 locked key";
/// The longest passphrase, in bytes.
pub const MAX_PASSPHRASE: usize = 1024;

/// Cost of a guess: memory in KiB, passes over it, lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    memory_kib: u32,
    passes: u8,
    lanes: u8,
}

impl Cost {
    /// RFC 9106 section 4, the second recommended choice: 64 MiB, 3 passes, 4 lanes.
    pub const DEFAULT: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 };

    /// Checks a cost: 8 to 256 MiB, 1 to 8 passes, 1 to 8 lanes. Less protects nothing, and a file
    /// must not make whoever opens it run out of memory or wait for minutes.
    #[must_use]
    pub fn new(memory_kib: u32, passes: u8, lanes: u8) -> Option<Self> {
        let possible = (8 * 1024..=256 * 1024).contains(&memory_kib)
            && (1..=8).contains(&passes)
            && (1..=8).contains(&lanes);
        possible.then_some(Self { memory_kib, passes, lanes })
    }

    /// Returns memory, passes and lanes as a box has them.
    pub(super) fn to_bytes(self) -> [u8; 6] {
        let [a, b, c, d] = self.memory_kib.to_be_bytes();
        [a, b, c, d, self.passes, self.lanes]
    }

    /// Reads them; `None` when the cost is out of bounds.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, d, passes, lanes] = *bytes else { return None };
        Self::new(u32::from_be_bytes([a, b, c, d]), passes, lanes)
    }
}

/// Reason why a key is not locked or unlocked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The text form.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Made by another version.
    #[error("this locked key has version {0}, this program knows version 1: update it")]
    Version(u8),
    /// Not what a locked key can be.
    #[error("the locked key is invalid: {0}")]
    Content(&'static str),
    /// The box does not open.
    #[error("the passphrase is wrong, or the file was changed")]
    Passphrase,
    /// Empty or too long.
    #[error("a passphrase has 1 to {MAX_PASSPHRASE} bytes")]
    Length,
    /// No memory for Argon2id.
    #[error("not enough memory: unlocking this key takes {0} MiB")]
    Memory(u32),
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// A locked key. Its public half can be read without the passphrase; it is proved when the key is
/// unlocked.
#[derive(Clone, PartialEq, Eq)]
pub struct LockedKey {
    header: Vec<u8>,
    cost: Cost,
    sealed: [u8; SEALED_LEN],
}

impl LockedKey {
    /// Locks a key.
    ///
    /// # Errors
    /// See [`LockError`].
    pub fn lock<K: Secret>(
        key: &K,
        passphrase: &SecretText,
        cost: Cost,
    ) -> Result<Self, LockError> {
        let mut header = vec![FORMAT_VERSION, K::CODE];
        header.extend(cost.to_bytes());
        let random: [u8; 32] = spa_proto::random()?;
        let salt = random.first_chunk::<SALT_LEN>().copied().unwrap_or_default();
        header.extend(salt);
        header.extend(key.public_bytes());
        let cipher = make_cipher(passphrase, &salt, cost)?;
        let mut secret = key.secret_bytes();
        let tag = cipher
            .encrypt_inout_detached(
                &[0; 12].into(),
                &[AAD_LABEL, &header].concat(),
                secret.as_mut_slice().into(),
            )
            .map_err(|_| LockError::Content("it cannot be sealed"))?;
        let mut sealed = [0; SEALED_LEN];
        for (to, from) in sealed.iter_mut().zip(secret.iter().chain(tag.iter())) {
            *to = *from;
        }
        Ok(Self { header, cost, sealed })
    }

    /// Unlocks the key.
    ///
    /// # Errors
    /// [`LockError::Passphrase`] when it is the wrong one, else see [`LockError`].
    pub fn unlock<K: Secret>(&self, passphrase: &SecretText) -> Result<K, LockError> {
        if self.side_code() != Some(K::CODE) {
            return Err(LockError::Content("it is a key of the other side: client's or server's"));
        }
        let salt = self.header.get(8..).and_then(|rest| rest.first_chunk()).ok_or(WRONG_LENGTH)?;
        let cipher = make_cipher(passphrase, salt, self.cost)?;
        let (secret, tag) = self.sealed.split_first_chunk::<32>().ok_or(WRONG_LENGTH)?;
        let tag: [u8; 16] = tag.try_into().map_err(|_| WRONG_LENGTH)?;
        let mut secret = Zeroizing::new(*secret);
        let aad = [AAD_LABEL, &self.header].concat();
        cipher
            .decrypt_inout_detached(
                &[0; 12].into(),
                &aad,
                secret.as_mut_slice().into(),
                &tag.into(),
            )
            .map_err(|_| LockError::Passphrase)?;
        let key = K::of_bytes(*secret);
        if self.public_bytes() == key.public_bytes() { Ok(key) } else { Err(WRONG_PUBLIC_KEY) }
    }

    /// Returns the public half, as the file claims it.
    ///
    /// # Errors
    /// When it is a key of the other side.
    pub fn public<K: Secret>(&self) -> Result<K::Public, LockError> {
        if self.side_code() != Some(K::CODE) {
            return Err(LockError::Content("it is a key of the other side: client's or server's"));
        }
        K::public_of_bytes(self.public_bytes()).ok_or(WRONG_LENGTH)
    }

    /// Tells whether it is a server's key.
    #[must_use]
    pub fn is_server(&self) -> bool {
        self.side_code() == Some(2)
    }

    fn side_code(&self) -> Option<u8> {
        self.header.get(1).copied()
    }

    fn public_bytes(&self) -> &[u8] {
        self.header.get(8 + SALT_LEN..).unwrap_or_default()
    }

    /// Returns the text form, `SPA-LOCKED-KEY-1…`.
    #[must_use]
    pub fn to_text(&self) -> SecretText {
        text::encode_text(Kind::LockedKey, &[&self.header[..], &self.sealed].concat())
    }

    /// Reads the text form. The cost is within the bounds of [`Cost::new`].
    ///
    /// # Errors
    /// Reason why the line is refused.
    pub fn from_text(text: &str) -> Result<Self, LockError> {
        let bytes = text::decode_text(Kind::LockedKey, text)?;
        let (version, code) =
            (bytes.first().ok_or(WRONG_LENGTH)?, bytes.get(1).ok_or(WRONG_LENGTH)?);
        if *version != FORMAT_VERSION {
            return Err(LockError::Version(*version));
        }
        let public = match code {
            1 => 64,
            2 => 32,
            _ => return Err(LockError::Content("it is neither a client's nor a server's")),
        };
        let (header, sealed) = bytes.split_at_checked(8 + SALT_LEN + public).ok_or(WRONG_LENGTH)?;
        let sealed: [u8; SEALED_LEN] = sealed.try_into().map_err(|_| WRONG_LENGTH)?;
        let cost = header.get(2..8).and_then(Cost::from_bytes).ok_or(LockError::Content(
            "its cost is outside 8 to 256 MiB, 1 to 8 passes and lanes",
        ))?;
        Ok(Self { header: header.to_vec(), cost, sealed })
    }
}

const WRONG_LENGTH: LockError = LockError::Content("it has the wrong length");
const WRONG_PUBLIC_KEY: LockError = LockError::Content("its public key does not match");

/// Derives the key of a box from a passphrase.
pub(super) fn make_cipher(
    passphrase: &SecretText,
    salt: &[u8; SALT_LEN],
    cost: Cost,
) -> Result<ChaCha20Poly1305, LockError> {
    let passphrase = passphrase.expose().as_bytes();
    if passphrase.is_empty() || passphrase.len() > MAX_PASSPHRASE {
        return Err(LockError::Length);
    }
    let bad = LockError::Content("its cost is not possible");
    let params = Params::new(cost.memory_kib, cost.passes.into(), cost.lanes.into(), Some(32))
        .map_err(|_| bad.clone())?;
    let no_memory = LockError::Memory(cost.memory_kib / 1024);
    let mut memory: Zeroizing<Vec<Block>> = Zeroizing::default();
    // A machine that is short of memory gets a sentence, not an abort.
    memory.try_reserve_exact(params.block_count()).map_err(|_| no_memory)?;
    memory.resize(params.block_count(), Block::default());
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(passphrase, salt, key.as_mut_slice(), memory.as_mut_slice())
        .map_err(|_| bad)?;
    Ok(ChaCha20Poly1305::new(&(*key).into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use spa_proto::{ClientSecret, ServerSecret};

    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 8 * 1024, passes: 1, lanes: 1 };

    fn words(text: &str) -> SecretText {
        SecretText::new(text.into())
    }

    fn locked() -> (ClientSecret, LockedKey) {
        let key = ClientSecret::from_bytes([7; 32]);
        let locked = LockedKey::lock(&key, &words("horse"), CHEAP).unwrap();
        (key, locked)
    }

    fn from_bytes(bytes: &[u8]) -> Result<LockedKey, LockError> {
        LockedKey::from_text(text::encode_text(Kind::LockedKey, bytes).expose())
    }

    #[test]
    fn opens_with_its_passphrase_only() {
        let (key, locked) = locked();
        let read = LockedKey::from_text(locked.to_text().expose()).unwrap();
        assert!(read == locked);
        assert_eq!(read.public::<ClientSecret>().unwrap(), key.public());
        assert_eq!(read.unlock::<ClientSecret>(&words("horse")), Ok(key.clone()));
        for wrong in ["Horse", "horse ", "hors", &"x".repeat(MAX_PASSPHRASE)] {
            assert_eq!(
                read.unlock::<ClientSecret>(&words(wrong)),
                Err(LockError::Passphrase),
                "{wrong}"
            );
        }
        for none in ["", &"x".repeat(MAX_PASSPHRASE + 1)] {
            assert_eq!(read.unlock::<ClientSecret>(&words(none)), Err(LockError::Length));
            assert!(LockedKey::lock(&key, &words(none), CHEAP).is_err());
        }
        assert!(matches!(read.unlock::<ServerSecret>(&words("horse")), Err(LockError::Content(_))));
        let again = LockedKey::lock(&key, &words("horse"), CHEAP).unwrap();
        assert!(again != locked, "a salt of its own");
    }

    #[test]
    fn a_servers_key() {
        let key = ServerSecret::from_bytes([9; 32]);
        let locked = LockedKey::lock(&key, &words("horse"), CHEAP).unwrap();
        assert!(locked.is_server());
        assert_eq!(locked.public::<ServerSecret>().unwrap(), key.public());
        assert_eq!(locked.unlock::<ServerSecret>(&words("horse")), Ok(key));
    }

    /// Every byte: its cost, its salt, its public half and its box are what the passphrase's holder
    /// wrote.
    #[test]
    fn every_changed_byte_is_refused() {
        let (_, locked) = locked();
        let bytes = [&locked.header[..], &locked.sealed].concat();
        assert_eq!(bytes.len(), 136);
        let mut unread = 0;
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            match from_bytes(&bad) {
                Err(_) => unread += 1,
                Ok(key) => {
                    assert!(key.unlock::<ClientSecret>(&words("horse")).is_err(), "byte {at}")
                }
            }
        }
        assert!(unread >= 2, "{unread}");
        for len in 0..bytes.len() {
            assert!(from_bytes(&bytes[..len]).is_err(), "cut to {len}");
        }
        assert!(from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    }

    /// A file must not make its reader run out of memory or time, nor be worth nothing against
    /// guessing.
    #[test]
    fn hostile_costs_are_refused_before_any_work() {
        let (_, locked) = locked();
        let bytes = [&locked.header[..], &locked.sealed].concat();
        for (memory, passes, lanes) in [
            (u32::MAX, 1, 1),
            (256 * 1024 + 1, 1, 1),
            (8 * 1024 - 1, 1, 1),
            (0, 1, 1),
            (8 * 1024, 0, 1),
            (8 * 1024, 9, 1),
            (8 * 1024, 255, 1),
            (8 * 1024, 1, 0),
            (8 * 1024, 1, 9),
        ] {
            assert_eq!(Cost::new(memory, passes, lanes), None);
            let mut bad = bytes.clone();
            bad[2..6].copy_from_slice(&memory.to_be_bytes());
            (bad[6], bad[7]) = (passes, lanes);
            assert!(
                matches!(from_bytes(&bad), Err(LockError::Content(_))),
                "{memory} {passes} {lanes}"
            );
        }
        assert_eq!(Cost::new(64 * 1024, 3, 4), Some(Cost::DEFAULT));
    }

    /// The box by the two specifications alone: Argon2id through the crate's plain interface, and
    /// the layout by hand.
    #[test]
    fn the_layout_is_as_written() {
        let (key, locked) = locked();
        let h = &locked.header;
        assert_eq!(h[..8], [1, 1, 0, 0, 0x20, 0, 1, 1]);
        assert_eq!(h[24..], key.public().to_bytes());
        let params = Params::new(8192, 1, 1, None).unwrap();
        let mut box_key = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(b"horse", &h[8..24], &mut box_key)
            .unwrap();
        let mut text = locked.sealed[..32].to_vec();
        let tag: [u8; 16] = locked.sealed[32..].try_into().unwrap();
        let aad = [&b"SPA/1 locked key"[..], h].concat();
        ChaCha20Poly1305::new(&box_key.into())
            .decrypt_inout_detached(&[0; 12].into(), &aad, text.as_mut_slice().into(), &tag.into())
            .unwrap();
        assert_eq!(text, [7; 32]);
    }
}
