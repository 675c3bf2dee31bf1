//! Keys of one client-server pair.

use ring::hkdf::Prk;
use ring::hmac;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::hash::{hkdf_expand, hkdf_extract, hmac_sha256, sha256, to_array};
use crate::keys::{ClientPublic, ClientSecret, Psk, ServerPublic, ServerSecret};
use crate::labels;
use crate::layout::{AEAD_TAG_LEN, EPHEMERAL_AT, MAC_LEN, SEALED_AT, TAG_LEN};
use crate::signing::KeyKind;

/// `ctx`: a hash over version, suite and every public key of the pair, bound into each of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context(pub [u8; 32]);

impl Context {
    /// SHA-256 over `lp(suite) ‖ lp(pk_S) ‖ lp(pk_C) ‖ lp(X_C)`, `lp` = u32 big-endian length, then
    /// the bytes; for a security key `‖ lp(key type) ‖ lp("ssh:")`, so that nobody can take one
    /// kind of key for the other.
    #[must_use]
    pub fn new(server: &ServerPublic, client: &ClientPublic) -> Self {
        let mut parts: Vec<&[u8]> = vec![labels::SUITE, &server.0, &client.sign, &client.dh];
        if client.kind == KeyKind::SecurityKey {
            parts.extend([labels::SK_KEY_TYPE, labels::SK_APPLICATION]);
        }
        let lengths: Vec<[u8; 4]> =
            parts.iter().map(|part| (part.len() as u32).to_be_bytes()).collect();
        let fields: Vec<&[u8]> = lengths
            .iter()
            .zip(&parts)
            .flat_map(|(length, part)| [length.as_slice(), *part])
            .collect();
        Self(sha256(&fields))
    }
}

/// The symmetric gate in front of every public-key operation: `k_tag`, `k_mac`, `k_hp`. From the
/// psk alone.
pub struct GateKeys {
    tag: hmac::Key,
    mac: hmac::Key,
    hp: hmac::Key,
}

impl GateKeys {
    /// Derives the three keys: HKDF(salt `"SPA/1 gate"`, psk, info `"SPA/1 gate" ‖ ctx`, 96 bytes).
    #[must_use]
    pub fn derive(psk: &Psk, context: &Context) -> Self {
        let okm = Self::key_material(psk, context);
        let (tag, rest) = okm.split_at(32);
        let (mac, hp) = rest.split_at(32);
        let key = |bytes| hmac::Key::new(hmac::HMAC_SHA256, bytes);
        Self { tag: key(tag), mac: key(mac), hp: key(hp) }
    }

    pub(crate) fn key_material(psk: &Psk, context: &Context) -> Zeroizing<[u8; 96]> {
        hkdf_expand(&hkdf_extract(labels::GATE, psk.bytes()), &[labels::GATE, &context.0])
    }

    /// The tag of a stage in an epoch: HMAC(k_tag, epoch u64 ‖ stage u8), the first 8 bytes.
    #[must_use]
    pub fn tag(&self, epoch: u64, stage: u8) -> [u8; TAG_LEN] {
        tag(&self.tag, epoch, stage)
    }

    /// HMAC(k_mac, tag ‖ packet from byte 16 on), the first 8 bytes.
    pub(crate) fn compute_mac(&self, tag: &[u8], rest: &[u8]) -> [u8; MAC_LEN] {
        to_array(&hmac_sha256(&self.mac, &[tag, rest]))
    }

    /// Verifies the packet's mac; compared in constant time. Costs no public-key operation.
    #[must_use]
    pub fn mac_is_right(&self, packet: &[u8]) -> bool {
        match (packet.get(..TAG_LEN), packet.get(TAG_LEN..EPHEMERAL_AT), packet.get(EPHEMERAL_AT..))
        {
            (Some(tag), Some(mac), Some(rest)) => self.compute_mac(tag, rest).ct_eq(mac).into(),
            _ => false,
        }
    }

    /// The header mask: HMAC(k_hp, last 16 bytes of the packet). The sample is the Poly1305
    /// authenticator, which differs in every packet, as in QUIC (RFC 9001 section 5.4).
    pub(crate) fn compute_mask(&self, sample: &[u8]) -> [u8; 32] {
        hmac_sha256(&self.hp, &[sample])
    }

    /// The ephemeral public key of a packet, unmasked. `None` when the packet is too short.
    #[must_use]
    pub fn ephemeral(&self, packet: &[u8]) -> Option<[u8; 32]> {
        let masked = packet.get(EPHEMERAL_AT..SEALED_AT)?;
        let sample = packet.get(packet.len().checked_sub(AEAD_TAG_LEN)?..)?;
        let mut out = self.compute_mask(sample);
        for (byte, masked) in out.iter_mut().zip(masked) {
            *byte ^= masked;
        }
        Some(out)
    }
}

/// `k_tag` alone, for a table of everybody's tags: half the work of [`GateKeys`].
pub struct TagKey(hmac::Key);

impl TagKey {
    /// The first 32 of the 96 bytes of [`GateKeys::derive`]: a shorter HKDF output is a prefix of a
    /// longer one (RFC 5869 section 2.3).
    #[must_use]
    pub fn derive(psk: &Psk, context: &Context) -> Self {
        let okm = hkdf_expand::<32>(
            &hkdf_extract(labels::GATE, psk.bytes()),
            &[labels::GATE, &context.0],
        );
        Self(hmac::Key::new(hmac::HMAC_SHA256, okm.as_slice()))
    }

    /// Computes a tag as [`GateKeys::tag`].
    #[must_use]
    pub fn tag(&self, epoch: u64, stage: u8) -> [u8; TAG_LEN] {
        tag(&self.0, epoch, stage)
    }
}

fn tag(key: &hmac::Key, epoch: u64, stage: u8) -> [u8; TAG_LEN] {
    to_array(&hmac_sha256(key, &[&epoch.to_be_bytes(), &[stage]]))
}

/// `k_cs`: the pair's static key, from the psk and the static Diffie-Hellman. Kept after the first
/// knock.
#[derive(Clone)]
pub struct PairKey(Zeroizing<[u8; 32]>);

impl PairKey {
    fn derive(psk: &Psk, shared: &[u8; 32], context: &Context) -> Self {
        Self(hkdf_expand(&hkdf_extract(psk.bytes(), shared), &[labels::PAIR, &context.0]))
    }

    /// The client's way to it. `None` when the server's key is a small-order point.
    #[must_use]
    pub fn of_client(
        psk: &Psk,
        client: &ClientSecret,
        server: &ServerPublic,
        context: &Context,
    ) -> Option<Self> {
        Some(Self::derive(psk, &*client.agree(server)?, context))
    }

    /// The server's way to it: one X25519. `None` when the client's key is a small-order point.
    #[must_use]
    pub fn of_server(
        psk: &Psk,
        server: &ServerSecret,
        client: &ClientPublic,
        context: &Context,
    ) -> Option<Self> {
        Some(Self::derive(psk, &*server.agree(&client.dh)?, context))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// `prk` of a session: HKDF-Extract(salt = k_cs, ikm = es).
    pub(crate) fn session_prk(&self, es: &[u8; 32]) -> Prk {
        hkdf_extract(self.0.as_slice(), es)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_a_tag_agree() {
        for n in 0..8 {
            let psk = Psk::from_bytes([n; 32]);
            let context = Context([n + 1; 32]);
            let (gate, tags) = (GateKeys::derive(&psk, &context), TagKey::derive(&psk, &context));
            assert_eq!(gate.tag(u64::from(n) << 40, n), tags.tag(u64::from(n) << 40, n));
            assert_ne!(gate.tag(1, n), tags.tag(2, n));
        }
    }
}
