//! Somebody with a stolen psk: passes the gate, has no key beyond it. Written from
//! `docs/protocol.md`, on purpose without spa-proto's own functions.

use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::hmac::{HMAC_SHA256, Key, sign};

struct Len(usize);

impl KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

pub struct Thief {
    tag: Key,
    mac: Key,
    hp: Key,
}

impl Thief {
    pub fn new(psk: [u8; 32], context: [u8; 32]) -> Self {
        let prk = Salt::new(HKDF_SHA256, b"SPA/1 gate").extract(&psk);
        let mut okm = [0; 96];
        prk.expand(&[b"SPA/1 gate", &context], Len(96)).unwrap().fill(&mut okm).unwrap();
        let key = |at: usize| Key::new(HMAC_SHA256, &okm[at..at + 32]);
        Self { tag: key(0), mac: key(32), hp: key(64) }
    }

    /// A packet with this ephemeral key and a sealed part of rubbish.
    pub fn packet(&self, epoch: u64, stage: u8, ephemeral: [u8; 32], rubbish: [u8; 96]) -> Vec<u8> {
        let mut input = epoch.to_be_bytes().to_vec();
        input.push(stage);
        let tag = sign(&self.tag, &input).as_ref()[..8].to_vec();
        let mask = sign(&self.hp, &rubbish[80..]);
        let masked: Vec<u8> = ephemeral.iter().zip(mask.as_ref()).map(|(a, b)| a ^ b).collect();
        let rest = [masked, rubbish.to_vec()].concat();
        let mac = sign(&self.mac, &[tag.clone(), rest.clone()].concat()).as_ref()[..8].to_vec();
        [tag, mac, rest].concat()
    }
}
