//! The client's half: one session, all its packets made at once.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::ack::{self, Ack, Answer, ServerKeys};
use crate::body::{Body, Flags};
use crate::confirm::{Confirm, seal_confirm};
use crate::ext::{address_bytes, optional_address_bytes};
use crate::hash::{hkdf_expand, hkdf_extract, sha256, to_array};
use crate::kem::KemPublic;
use crate::keys::{HedgeKey, ServerPublic, agree};
use crate::layout::{
    AEAD_TAG_LEN, BODY_LEN, CLIENT_PACKET, EPHEMERAL_AT, MAX_PACKET, SEALED_AT, TAG_LEN, epoch_of,
};
use crate::new_keys::{NewKeys, ProofParts};
use crate::pair::{Context, PairKeys, TagKey};
use crate::random::random;
use crate::request::{Request, SessionError, check_request, hedged_words};
use crate::seal::SealKey;
use crate::server::SessionId;
use crate::signing::{KeyKind, SignError, Signature, Signer};
use crate::{labels, session_keys, sshsig};

/// The long-term side of a session: who talks to whom.
pub struct SessionParts<'a> {
    /// The server.
    pub server: &'a ServerPublic,
    /// Context of the pair.
    pub context: &'a Context,
    /// Tag key of the pair.
    pub tag: &'a TagKey,
    /// Keys of the pair.
    pub pair: &'a PairKeys,
    /// The holder of the signing key.
    pub signer: &'a dyn Signer,
    /// Hedge of the client's seed.
    pub hedge: &'a HedgeKey,
}

/// Origin of a session's ephemeral secret.
pub(crate) enum Ephemeral {
    /// Random bytes, hedged with the client's seed and everything that will be sealed.
    Hedged([u8; 32]),
    /// The secret itself: only vectors choose it. Using one twice breaks the protocol.
    Chosen([u8; 32]),
}

/// Parts of a session beside its request: new keys, and an ML-KEM key for their psk.
#[derive(Default)]
pub(crate) struct Brought<'a> {
    new: Option<&'a NewKeys<'a>>,
    kem: Option<KemPublic>,
}

impl<'a> Brought<'a> {
    /// New keys.
    pub(crate) fn keys(new: &'a NewKeys<'a>) -> Self {
        Self { new: Some(new), kem: None }
    }

    /// New keys with the ML-KEM key that belongs to them.
    pub(crate) fn keys_and_kem(new: &'a NewKeys<'a>) -> Self {
        Self { new: Some(new), kem: Some(new.kem_secret().public()) }
    }
}

/// One knock. Its packets are made once and never edited, so a retransmission is byte-identical and
/// no key ever seals two plaintexts.
pub struct Session {
    id: SessionId,
    ts_ms: u64,
    packets: Vec<(u16, Vec<u8>)>,
    big_e: [u8; 32],
    k_ack: SealKey,
    k_conf: SealKey,
}

impl Session {
    /// Makes all packets of a session for the time `now_ms` (unix milliseconds).
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn new(
        parts: &SessionParts<'_>,
        request: &Request<'_>,
        now_ms: u64,
    ) -> Result<Self, SessionError> {
        let ephemeral = Ephemeral::Hedged(random()?);
        Self::with_ephemeral(parts, request, &Brought::default(), now_ms, ephemeral)
    }

    /// Makes a session as [`Session::new`], for ENROL (with an invitation's keys in `parts`) and
    /// REKEY: `request.op` names `new.public`, service and ttl are 0.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn with_new_keys(
        parts: &SessionParts<'_>,
        request: &Request<'_>,
        new: &NewKeys<'_>,
        now_ms: u64,
    ) -> Result<Self, SessionError> {
        let ephemeral = Ephemeral::Hedged(random()?);
        Self::with_ephemeral(parts, request, &Brought::keys(new), now_ms, ephemeral)
    }

    /// Makes a session as [`Session::with_new_keys`], with an ML-KEM key in two stages at least.
    /// The new psk comes from the answer: [`NewKeys::psk_by_kem`]. All packets have
    /// [`MAX_PACKET`] bytes.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn with_kem(
        parts: &SessionParts<'_>,
        request: &Request<'_>,
        new: &NewKeys<'_>,
        now_ms: u64,
    ) -> Result<Self, SessionError> {
        let ephemeral = Ephemeral::Hedged(random()?);
        Self::with_ephemeral(parts, request, &Brought::keys_and_kem(new), now_ms, ephemeral)
    }

    /// Makes a session with a given ephemeral secret, or one derived from random bytes and the
    /// keys.
    pub(crate) fn with_ephemeral(
        parts: &SessionParts<'_>,
        request: &Request<'_>,
        brought: &Brought<'_>,
        now_ms: u64,
        ephemeral: Ephemeral,
    ) -> Result<Self, SessionError> {
        let kem = brought.kem.is_some();
        check_request(request, brought.new, kem)?;
        let epoch = epoch_of(now_ms);
        let body = Body {
            ts_ms: now_ms,
            service: request.service,
            ttl_s: request.ttl_s,
            op: request.op,
            flags: Flags {
                want_ack: request.want_ack,
                security_key: parts.signer.kind() == KeyKind::SecurityKey,
                all: request.all,
                kem,
            },
            bind_src: request.bind_src.map(|address| address.to_canonical()),
            for_addr: request.for_addr.map(|address| address.to_canonical()),
        }
        .encode();
        let e = StaticSecret::from(*match ephemeral {
            Ephemeral::Hedged(random) => {
                hedge_secret(parts, &hedged_words(request, &body, kem), random)
            }
            Ephemeral::Chosen(secret) => Zeroizing::new(secret),
        });
        let big_e = PublicKey::from(&e).to_bytes();
        let es = agree(&e, &parts.server.0).ok_or(SessionError::ServerKey)?;
        let eh = sha256(&[&big_e]);
        let prk = parts.pair.session_prk(&es);
        let text = signed_text(parts, request, brought, &eh, &body)?;
        let stages = request.ports.len() as u8;

        let mut packets = Vec::with_capacity(request.ports.len());
        for (stage, port) in (0u8..).zip(request.ports) {
            let key = session_keys::box_key(&prk, parts.context, &eh, epoch, stage, *port);
            let fragment = brought.kem.as_ref().map(|kem| kem.fragment(stage, stages));
            let len = request.packet_len(stage, kem);
            let sealed = seal_text(&key, pad_text(&text, &fragment.unwrap_or_default(), len));
            let tag = parts.tag.tag(epoch, stage);
            packets.push((*port, assemble_packet(parts.pair, tag, &big_e, &sealed)));
        }
        let k_ack = session_keys::ack_key(&prk, parts.context, &eh);
        let k_conf = session_keys::confirm_key(&prk, parts.context, &eh);
        let id = SessionId::from_hash(&eh);
        Ok(Self { id, ts_ms: now_ms, packets, big_e, k_ack, k_conf })
    }

    /// The packets in stage order, each with the port it goes to.
    #[must_use]
    pub fn packets(&self) -> &[(u16, Vec<u8>)] {
        &self.packets
    }

    /// The session id, which both sides derive from the ephemeral key.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The time stamp inside, unix milliseconds.
    #[must_use]
    pub fn ts_ms(&self) -> u64 {
        self.ts_ms
    }

    /// Makes a CONFIRM, which goes to the port of the last stage, with `padding` bytes beyond
    /// [`CLIENT_PACKET`], 896 at most. `pair` is the pair that the session was made with. One
    /// number is sealed once and resent unchanged.
    #[must_use]
    pub fn make_confirm(&self, pair: &PairKeys, confirm: &Confirm, padding: usize) -> Vec<u8> {
        let sealed = seal_confirm(&self.k_conf, confirm, padding.min(MAX_PACKET - CLIENT_PACKET));
        let last = self.packets.last().and_then(|(_, packet)| packet.first_chunk::<TAG_LEN>());
        assemble_packet(pair, last.copied().unwrap_or_default(), &self.big_e, &sealed)
    }

    /// Opens a datagram as an answer to this session or one of its CONFIRMs, with the server's
    /// present keys when it told them because this session came by its previous key. They are as
    /// authentic as the answer; whether they are usable is
    /// [`crate::ServerPublic::is_usable`]'s to say.
    #[must_use]
    pub fn open_ack(&self, datagram: &[u8]) -> Option<(Ack, Option<ServerKeys>)> {
        self.open_answer(datagram).map(|answer| (answer.ack, answer.keys))
    }

    /// Opens a datagram as [`Session::open_ack`], with the ciphertext that makes a psk.
    #[must_use]
    pub fn open_answer(&self, datagram: &[u8]) -> Option<Answer> {
        ack::open_answer(&self.k_ack, datagram)
    }
}

/// Derives a session's ephemeral secret: random bytes, a secret of the seed, and everything that
/// will be sealed (RFC 8937, with a secret in the place of its signature). A clone with the same
/// random state makes the same packets or unrelated ones, never two plaintexts under one key.
fn hedge_secret(parts: &SessionParts<'_>, said: &[u8], random: [u8; 32]) -> Zeroizing<[u8; 32]> {
    let ikm = Zeroizing::new([random, *parts.hedge.0].concat());
    let prk = hkdf_extract(labels::EPHEMERAL_SECRET, &ikm);
    hkdf_expand(&prk, &[&parts.context.0, &sha256(&[said])])
}

fn sign_blob(signer: &dyn Signer, blob: &[u8]) -> Result<Signature, SessionError> {
    let signature = signer.sign(blob)?;
    if signature.kind() == signer.kind() {
        Ok(signature)
    } else {
        let text = "the signer made a signature of another kind than its key's";
        Err(SignError(text.to_owned()).into())
    }
}

/// Body, signature and extension. The new keys sign first, so that the pair's own signature covers
/// their proof.
fn signed_text(
    parts: &SessionParts<'_>,
    request: &Request<'_>,
    brought: &Brought<'_>,
    eh: &[u8; 32],
    body: &[u8; BODY_LEN],
) -> Result<Vec<u8>, SessionError> {
    let mut ext = Vec::new();
    for address in [request.bind_src, request.for_addr].into_iter().flatten() {
        ext.extend_from_slice(&address_bytes(address));
    }
    if let Some(new) = brought.new {
        let proof_key = new.proof_key(parts.server, eh).ok_or(SessionError::ServerKey)?;
        let share = new.share();
        let blob = ProofParts {
            new: &Context::new(parts.server, &new.public),
            old: parts.context,
            proof_key: &proof_key,
            share: &share,
            kem: brought.kem.as_ref(),
        }
        .signed_data(eh, body, &optional_address_bytes(request.bind_src));
        let proof = sign_blob(new.signer, &blob)?;
        ext.extend_from_slice(&new.public.to_bytes());
        ext.extend_from_slice(share.as_slice());
        ext.extend_from_slice(&proof.bytes);
        ext.extend(proof.touch.iter().flat_map(|touch| touch.encode()));
    }
    let message: [&[u8]; 4] = [&parts.context.0, eh, body, &ext];
    let signature =
        sign_blob(parts.signer, &sshsig::signed_data(labels::SSHSIG_NAMESPACE, &message))?;
    ext.extend(signature.touch.iter().flat_map(|touch| touch.encode()));
    Ok([body, &signature.bytes[..], &ext].concat())
}

/// Builds what a stage packet of `packet_len` bytes seals: the text, a piece of an ML-KEM key, and
/// zeros.
fn pad_text(text: &[u8], fragment: &[u8], packet_len: usize) -> Vec<u8> {
    let len = packet_len - SEALED_AT - AEAD_TAG_LEN;
    let mut out = Vec::with_capacity(packet_len - SEALED_AT);
    out.extend_from_slice(text);
    out.extend_from_slice(fragment);
    out.resize(len, 0);
    out
}

/// ChaCha20-Poly1305 with nonce 0: each key seals exactly one plaintext.
pub(crate) fn seal_text(key: &Zeroizing<[u8; 32]>, mut text: Vec<u8>) -> Vec<u8> {
    let cipher = ChaCha20Poly1305::new(&(**key).into());
    // Only a plaintext above 256 GiB fails (RFC 8439 section 2.8).
    match cipher.encrypt_inout_detached(&[0; 12].into(), &[], text.as_mut_slice().into()) {
        Ok(tag) => text.extend_from_slice(&tag),
        // Whatever happens, a plaintext never leaves.
        Err(_) => text.clear(),
    }
    text
}

/// Assembles a stage packet: tag, mac, masked `E` and sealed text.
pub(crate) fn assemble_packet(
    pair: &PairKeys,
    tag: [u8; TAG_LEN],
    big_e: &[u8; 32],
    sealed: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0; SEALED_AT];
    packet.extend_from_slice(sealed);
    let sample: [u8; AEAD_TAG_LEN] =
        packet.last_chunk().copied().unwrap_or_else(|| to_array(sealed));
    let mask = pair.compute_mask(&sample);
    for ((to, byte), mask) in packet.iter_mut().skip(EPHEMERAL_AT).zip(big_e).zip(mask) {
        *to = byte ^ mask;
    }
    let mac = pair.compute_mac(&tag, packet.get(EPHEMERAL_AT..).unwrap_or_default());
    for (to, from) in packet.iter_mut().zip(tag.iter().chain(&mac)) {
        *to = *from;
    }
    packet
}
