//! A security key in memory: signs as a FIDO2 token does, and counts its touches.

use std::cell::Cell;

use ring::digest::{SHA256, digest};
use spa_proto::{ClientSecret, KeyKind, SignError, Signature, Signer, Touch};

pub struct Token {
    pub inner: ClientSecret,
    counter: Cell<u32>,
}

impl Token {
    pub fn new(seed: [u8; 32]) -> Self {
        Self { inner: ClientSecret::from_bytes(seed), counter: Cell::new(0) }
    }

    pub fn touches(&self) -> u32 {
        self.counter.get()
    }
}

impl Signer for Token {
    fn sign(&self, blob: &[u8]) -> Result<Signature, SignError> {
        let touch = Touch { flags: 1, counter: self.counter.get() };
        self.counter.set(touch.counter + 1);
        let (application, message) = (digest(&SHA256, b"ssh:"), digest(&SHA256, blob));
        let counter = touch.counter.to_be_bytes();
        let signed = [application.as_ref(), &[touch.flags], &counter, message.as_ref()].concat();
        Ok(Signature { bytes: self.inner.sign(&signed)?.bytes, touch: Some(touch) })
    }

    fn kind(&self) -> KeyKind {
        KeyKind::SecurityKey
    }
}
