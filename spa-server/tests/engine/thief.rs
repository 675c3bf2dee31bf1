//! Somebody with stolen keys of a pair: passes the gate with some, has no signing key. Written from
//! `docs/protocol.md`, on purpose without spa-proto's own functions.

use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::hmac::{HMAC_SHA256, Key, sign};

use crate::actors::Actor;
use crate::world::SERVER_SEED;

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
    /// Has the psk alone.
    pub fn of_psk(victim: &Actor) -> Self {
        Self::new(victim, [9; 32])
    }

    /// Has the psk and the client's X25519 secret.
    pub fn of_psk_and_dh(victim: &Actor) -> Self {
        Self::new(victim, x25519_dalek::x25519(SERVER_SEED, victim.public.dh))
    }

    fn new(victim: &Actor, shared: [u8; 32]) -> Self {
        let psk = *victim.psk.to_bytes();
        let expand = |salt: &[u8], ikm: &[u8], label: &[u8], out: &mut [u8]| {
            let prk = Salt::new(HKDF_SHA256, salt).extract(ikm);
            prk.expand(&[label, &victim.context.0], Len(out.len())).unwrap().fill(out).unwrap();
        };
        let mut tag = [0; 32];
        expand(b"SPA/2 tag", &psk, b"SPA/2 tag", &mut tag);
        let mut pair = [0; 96];
        expand(&psk, &shared, b"SPA/2 pair", &mut pair);
        let key = |bytes: &[u8]| Key::new(HMAC_SHA256, bytes);
        Self { tag: key(&tag), mac: key(&pair[32..64]), hp: key(&pair[64..]) }
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
