//! A client's key whose signing half is in an ssh-agent.
//!
//! `SPA-AGENT-KEY-1…` is kind u8 (0 Ed25519, 1 security key) | Ed25519 public key 32 | seed 32. Of
//! the seed only the X25519 half counts; its Ed25519 half is known to no server.

use spa_proto::{ClientPublic, ClientSecret, KeyKind, RandomError};
use zeroize::Zeroizing;

use crate::agent::AgentKey;
use crate::text::{self, Kind, SecretText, TextError, TextForm};

/// A key whose signing half is in an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitKey {
    /// The half in the agent.
    pub agent: AgentKey,
    secret: ClientSecret,
}

impl SplitKey {
    /// Makes a fresh half beside this one of an agent.
    ///
    /// # Errors
    /// No random bytes.
    pub fn beside(agent: AgentKey) -> Result<Self, RandomError> {
        Ok(Self { agent, secret: ClientSecret::generate()? })
    }

    /// Returns both public halves.
    #[must_use]
    pub fn public(&self) -> ClientPublic {
        self.secret.public().with_signer(self.agent.sign, self.agent.kind)
    }

    /// Returns the secret of which the X25519 half counts.
    #[must_use]
    pub(crate) fn secret(&self) -> &ClientSecret {
        &self.secret
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
        text::encode_text(Kind::AgentKey, &bytes)
    }

    fn from_text(text: &str) -> Result<Self, TextError> {
        let bytes = text::decode_text(Kind::AgentKey, text)?;
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
