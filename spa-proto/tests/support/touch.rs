//! A security key in memory: signs as a FIDO2 token does, and counts its touches.

use std::cell::Cell;

use spa_proto::{ClientPublic, ClientSecret, KeyKind, Signature, Signer, Touch, danger};

pub struct Token {
    pub inner: ClientSecret,
    pub flags: u8,
    pub counter: Cell<u32>,
}

impl Token {
    pub fn new(seed: [u8; 32]) -> Self {
        Self { inner: ClientSecret::from_bytes(seed), flags: 1, counter: Cell::new(7) }
    }

    /// The client's public keys when its X25519 half comes from `disk`.
    pub fn public_with(&self, disk: &ClientSecret) -> ClientPublic {
        disk.public().with_signer(self.inner.public().sign, KeyKind::SecurityKey)
    }
}

impl Signer for Token {
    fn sign(&self, blob: &[u8]) -> Result<Signature, spa_proto::SignError> {
        let touch = Touch { flags: self.flags, counter: self.counter.get() };
        self.counter.set(touch.counter + 1);
        let bytes = self.inner.sign(&danger::security_key_data(touch, blob))?.bytes;
        Ok(Signature { bytes, touch: Some(touch) })
    }

    fn kind(&self) -> KeyKind {
        KeyKind::SecurityKey
    }
}
