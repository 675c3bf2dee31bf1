//! A client's whole key: both halves in a file, or one in a file and the signing one in an
//! ssh-agent.
//!
//! `SPA-AGENT-KEY-1…` is the second kind: kind u8 (0 Ed25519, 1 security key) | Ed25519 public key
//! 32 | seed 32. Of the seed only the X25519 half counts; its Ed25519 half is known to no server.

use std::path::Path;

use spa_proto::{ClientPublic, ClientSecret, KeyKind, RandomError, Signature, Signer};
use zeroize::Zeroizing;

use crate::agent::AgentKey;
use crate::file;
use crate::key_file::{self, KeyFileError};
use crate::passphrase::PassphraseSource;
use crate::text::{self, Kind, SecretText, TextError, TextForm, kind_of};

/// A key whose signing half is in an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitKey {
    /// The half in the agent.
    pub agent: AgentKey,
    secret: ClientSecret,
}

impl SplitKey {
    /// A fresh half beside this one of an agent.
    ///
    /// # Errors
    /// No random bytes.
    pub fn beside(agent: AgentKey) -> Result<Self, RandomError> {
        Ok(Self { agent, secret: ClientSecret::generate()? })
    }

    /// Both public halves.
    #[must_use]
    pub fn public(&self) -> ClientPublic {
        self.secret.public().with_signer(self.agent.sign, self.agent.kind)
    }

    /// Reads the split key of a file; `None` when the file holds something else, or several things.
    ///
    /// # Errors
    /// What is wrong with the file or the split key in it.
    pub fn read(path: &Path) -> Result<Option<Self>, KeyFileError> {
        let text = file::read_secret(path)?;
        match key_file::only_line(text.expose()) {
            Ok((line, key)) if kind_of(key) == Some(Kind::AgentKey) => Self::from_text(key)
                .map(Some)
                .map_err(|error| KeyFileError::Text { path: path.to_owned(), line, error }),
            _ => Ok(None),
        }
    }
}

impl TextForm for SplitKey {
    const KIND: Kind = Kind::AgentKey;
    type Text = SecretText;

    fn to_text(&self) -> SecretText {
        let secret = self.secret.to_bytes();
        let mut bytes = Zeroizing::new(Vec::with_capacity(65));
        bytes.push(u8::from(self.agent.kind == KeyKind::SecurityKey));
        bytes.extend_from_slice(&self.agent.sign);
        bytes.extend_from_slice(secret.as_slice());
        text::encode(Kind::AgentKey, &bytes)
    }

    fn from_text(text: &str) -> Result<Self, TextError> {
        let bytes = text::decode(Kind::AgentKey, text)?;
        let half = |from: usize| -> Option<Zeroizing<[u8; 32]>> {
            Some(Zeroizing::new(bytes.get(from..from + 32)?.try_into().ok()?))
        };
        let kind = match bytes.first() {
            Some(0) => KeyKind::Ed25519,
            Some(1) => KeyKind::SecurityKey,
            _ => return Err(TextError::Checksum),
        };
        let (Some(sign), Some(secret)) = (half(1), half(33)) else {
            return Err(TextError::Checksum);
        };
        Ok(Self {
            agent: AgentKey { sign: *sign, kind },
            secret: ClientSecret::from_bytes(*secret),
        })
    }
}

/// A client's key, whoever signs with it.
#[derive(Clone, Debug)]
pub enum Identity {
    /// Both halves are here.
    Whole(ClientSecret),
    /// The agent signs.
    Split(SplitKey),
}

impl Identity {
    /// Reads it, and asks for the passphrase when it is locked. The agent is not asked before
    /// something is signed.
    ///
    /// # Errors
    /// What is wrong with the file, the text in it or the passphrase.
    pub fn read(path: &Path, source: PassphraseSource) -> Result<Self, KeyFileError> {
        match SplitKey::read(path)? {
            Some(split) => Ok(Self::Split(split)),
            None => Ok(Self::Whole(key_file::read_unlocking(path, source)?)),
        }
    }

    /// The same with this passphrase, which a key that is not locked does not need.
    ///
    /// # Errors
    /// What is wrong with the file, the text in it or the passphrase.
    pub fn read_with(path: &Path, passphrase: &SecretText) -> Result<Self, KeyFileError> {
        match SplitKey::read(path)? {
            Some(split) => Ok(Self::Split(split)),
            None => Ok(Self::Whole(key_file::read_with(path, passphrase)?)),
        }
    }

    /// Whether each signature costs the user a touch.
    #[must_use]
    pub fn asks_for_touch(&self) -> bool {
        self.kind() == KeyKind::SecurityKey
    }

    /// Both public halves.
    #[must_use]
    pub fn public(&self) -> ClientPublic {
        match self {
            Self::Whole(secret) => secret.public(),
            Self::Split(split) => split.public(),
        }
    }

    /// What gives the X25519 half.
    #[must_use]
    pub fn secret(&self) -> &ClientSecret {
        match self {
            Self::Whole(secret) => secret,
            Self::Split(split) => &split.secret,
        }
    }
}

impl Signer for Identity {
    fn sign(&self, blob: &[u8]) -> Result<Signature, String> {
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
