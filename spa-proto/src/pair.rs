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

/// Hashes fields, each after its length as u32 big-endian.
fn hash_fields(parts: &[&[u8]]) -> [u8; 32] {
    let lengths: Vec<[u8; 4]> =
        parts.iter().map(|part| (part.len() as u32).to_be_bytes()).collect();
    let fields: Vec<&[u8]> =
        lengths.iter().zip(parts).flat_map(|(length, part)| [length.as_slice(), *part]).collect();
    sha256(&fields)
}

/// Names the kind of a security key, so that nobody can take one kind of key for the other.
fn kind_fields(kind: KeyKind) -> &'static [&'static [u8]] {
    match kind {
        KeyKind::Ed25519 => &[],
        KeyKind::SecurityKey => &[labels::SK_KEY_TYPE, labels::SK_APPLICATION],
    }
}

/// `ctx`: a hash over version, suite and every public key of the pair, bound into each of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context(pub [u8; 32]);

impl Context {
    /// SHA-256 over `lp(suite) ‖ lp(pk_S) ‖ lp(pk_C) ‖ lp(X_C)`, `lp` = u32 big-endian length, then
    /// the bytes; for a security key `‖ lp(key type) ‖ lp("ssh:")`.
    #[must_use]
    pub fn new(server: &ServerPublic, client: &ClientPublic) -> Self {
        let keys: [&[u8]; 4] = [labels::SUITE_NAME, &server.0, &client.sign, &client.dh];
        Self(hash_fields(&[&keys, kind_fields(client.kind)].concat()))
    }
}

/// `cid`: a hash over a client's public keys, without the server's: what comes of two keys is the
/// same by whichever server key the client asked.
#[must_use]
pub(crate) fn client_id(client: &ClientPublic) -> [u8; 32] {
    let keys: [&[u8]; 3] = [labels::CLIENT_ID, &client.sign, &client.dh];
    hash_fields(&[&keys, kind_fields(client.kind)].concat())
}

/// `k_tag`: from the psk alone, so that the tags of a million clients cost no Diffie-Hellman.
#[derive(Clone)]
pub struct TagKey(hmac::Key);

impl TagKey {
    /// Derives it: HKDF(salt `"SPA/2 tag"`, psk, info `"SPA/2 tag" ‖ ctx`, 32 bytes).
    #[must_use]
    pub fn derive(psk: &Psk, context: &Context) -> Self {
        let okm = Self::key_material(psk, context);
        Self(hmac::Key::new(hmac::HMAC_SHA256, okm.as_slice()))
    }

    /// Derives `k_tag` (HKDF-SHA256) from psk and context.
    pub(crate) fn key_material(psk: &Psk, context: &Context) -> Zeroizing<[u8; 32]> {
        hkdf_expand(&hkdf_extract(labels::TAG_KEY, psk.bytes()), &[labels::TAG_KEY, &context.0])
    }

    /// The tag of a stage in an epoch: HMAC(k_tag, epoch u64 ‖ stage u8), the first 8 bytes.
    #[must_use]
    pub fn tag(&self, epoch: u64, stage: u8) -> [u8; TAG_LEN] {
        to_array(&hmac_sha256(&self.0, &[&epoch.to_be_bytes(), &[stage]]))
    }
}

/// `k_pair`, from psk and static Diffie-Hellman: 32 bytes that a server keeps of every pair that
/// has knocked, because each costs one X25519.
#[derive(Clone)]
pub struct PairSecret(Zeroizing<[u8; 32]>);

impl PairSecret {
    /// Derives it on the client. `None` when the server's key is a small-order point.
    #[must_use]
    pub fn of_client(psk: &Psk, client: &ClientSecret, server: &ServerPublic) -> Option<Self> {
        Some(Self::extract(psk, &*client.agree(server)?))
    }

    /// Derives it on the server: one X25519. `None` when the client's key is a small-order point.
    #[must_use]
    pub fn of_server(psk: &Psk, server: &ServerSecret, client: &ClientPublic) -> Option<Self> {
        Some(Self::extract(psk, &*server.agree(&client.dh)?))
    }

    /// HKDF-Extract is HMAC(salt, ikm) (RFC 5869 section 2.2).
    fn extract(psk: &Psk, shared: &[u8; 32]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, psk.bytes());
        Self(Zeroizing::new(hmac_sha256(&key, &[shared])))
    }

    /// Expands it to the pair's keys, without a public-key operation.
    #[must_use]
    pub fn keys(&self, context: &Context) -> PairKeys {
        let okm = self.key_material(context);
        let (cs, rest) = okm.split_at(32);
        let (mac, hp) = rest.split_at(32);
        let key = |bytes| hmac::Key::new(hmac::HMAC_SHA256, bytes);
        PairKeys { cs: Zeroizing::new(to_array(cs)), mac: key(mac), hp: key(hp) }
    }

    /// Expand(k_pair, `"SPA/2 pair" ‖ ctx`, 96 bytes).
    pub(crate) fn key_material(&self, context: &Context) -> Zeroizing<[u8; 96]> {
        let prk = Prk::new_less_safe(ring::hkdf::HKDF_SHA256, self.0.as_slice());
        hkdf_expand(&prk, &[labels::PAIR_KEYS, &context.0])
    }

    /// The `k_static` bytes.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Keys of a pair that need psk and static Diffie-Hellman both: `k_cs`, `k_mac`, `k_hp`. Who has
/// stolen the psk alone passes no mac and unmasks no ephemeral key.
#[derive(Clone)]
pub struct PairKeys {
    cs: Zeroizing<[u8; 32]>,
    mac: hmac::Key,
    hp: hmac::Key,
}

impl PairKeys {
    /// Derives them on the client. `None` when the server's key is a small-order point.
    #[must_use]
    pub fn of_client(
        psk: &Psk,
        client: &ClientSecret,
        server: &ServerPublic,
        context: &Context,
    ) -> Option<Self> {
        Some(PairSecret::of_client(psk, client, server)?.keys(context))
    }

    /// Derives them on the server: one X25519. `None` when the client's key is a small-order point.
    #[must_use]
    pub fn of_server(
        psk: &Psk,
        server: &ServerSecret,
        client: &ClientPublic,
        context: &Context,
    ) -> Option<Self> {
        Some(PairSecret::of_server(psk, server, client)?.keys(context))
    }

    /// `k_cs`.
    pub(crate) fn static_key(&self) -> &[u8] {
        self.cs.as_slice()
    }

    /// `prk` of a session: HKDF-Extract(salt = k_cs, ikm = es).
    pub(crate) fn session_prk(&self, es: &[u8; 32]) -> Prk {
        hkdf_extract(self.static_key(), es)
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
