//! A client's whole key: both halves in a file, or the signing one in an ssh-agent.

use std::path::Path;

use spa_proto::{ClientPublic, ClientSecret, KeyKind, SignError, Signature, Signer};

use crate::key::key_file::{self, KeyFileError};
use crate::key::passphrase::PassphraseSource;
use crate::key::split_key::SplitKey;
use crate::text::SecretText;

/// Key of a client, with the signing half here or in an ssh-agent.
#[derive(Clone, Debug)]
pub enum Identity {
    /// Both halves are in memory.
    Whole(ClientSecret),
    /// The signing half is in an ssh-agent.
    Split(SplitKey),
}

impl Identity {
    /// Reads a key file, and asks for the passphrase when it is locked. The agent is not asked
    /// before something is signed.
    ///
    /// # Errors
    /// What is wrong with the file, the text in it or the passphrase.
    pub fn read(path: &Path, source: PassphraseSource) -> Result<Self, KeyFileError> {
        match SplitKey::read(path)? {
            Some(split) => Ok(Self::Split(split)),
            None => Ok(Self::Whole(key_file::read_unlocking(path, source)?)),
        }
    }

    /// Reads a key file with this passphrase, which a key that is not locked does not need.
    ///
    /// # Errors
    /// What is wrong with the file, the text in it or the passphrase.
    pub fn read_with(path: &Path, passphrase: &SecretText) -> Result<Self, KeyFileError> {
        match SplitKey::read(path)? {
            Some(split) => Ok(Self::Split(split)),
            None => Ok(Self::Whole(key_file::read_with(path, passphrase)?)),
        }
    }

    /// Tells whether each signature costs the user a touch.
    #[must_use]
    pub fn asks_for_touch(&self) -> bool {
        self.kind() == KeyKind::SecurityKey
    }

    /// Returns both public halves.
    #[must_use]
    pub fn public(&self) -> ClientPublic {
        match self {
            Self::Whole(secret) => secret.public(),
            Self::Split(split) => split.public(),
        }
    }

    /// Returns the secret that gives the X25519 half.
    #[must_use]
    pub fn secret(&self) -> &ClientSecret {
        match self {
            Self::Whole(secret) => secret,
            Self::Split(split) => split.secret(),
        }
    }
}

impl Signer for Identity {
    fn sign(&self, blob: &[u8]) -> Result<Signature, SignError> {
        match self {
            Self::Whole(secret) => secret.sign(blob),
            Self::Split(split) => {
                if split.agent.kind == KeyKind::SecurityKey {
                    // The key only blinks, and whoever does not look at it would wait for nothing.
                    crate::note!("touch the security key {}", split.agent.fingerprint());
                }
                Signer::sign(&split.agent, blob)
            }
        }
    }

    fn kind(&self) -> KeyKind {
        match self {
            Self::Whole(secret) => secret.kind(),
            Self::Split(split) => split.agent.kind,
        }
    }
}
