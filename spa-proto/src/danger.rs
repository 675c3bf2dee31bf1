//! For test vectors and attacks in tests, for nothing else: chosen ephemeral keys, packets that no
//! honest client makes, and every intermediate secret in the clear. One ephemeral secret used for
//! two requests breaks the protocol.

use ring::hkdf::Prk;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::ack::{Ack, AckParts};
use crate::client::{self, Brought, Ephemeral, Session, SessionParts};
use crate::ext::optional_address_bytes;
use crate::hash::{hmac_sha256, sha256};
use crate::kem::KemPublic;
use crate::keys::{ClientPublic, ClientSecret, Psk, ServerPublic, ServerSecret, agree};
use crate::layout::{EPHEMERAL_AT, TAG_LEN};
use crate::new_keys::{NewKeys, ProofParts};
use crate::pair::{Context, PairKeys, PairSecret, TagKey, client_id};
use crate::request::{self, Request, SessionError};
use crate::server::ServerSession;
use crate::signing::{self, Touch};
use crate::{labels, session_keys, sshsig};

/// Names and values, in the order in which the specification derives them.
pub type Trace = Vec<(&'static str, Vec<u8>)>;

/// [`Session::new`] with a chosen ephemeral secret.
///
/// # Errors
/// As [`Session::new`].
pub fn session_with_ephemeral(
    parts: &SessionParts<'_>,
    request: &Request<'_>,
    now_ms: u64,
    ephemeral: [u8; 32],
) -> Result<Session, SessionError> {
    let ephemeral = Ephemeral::Chosen(ephemeral);
    Session::with_ephemeral(parts, request, &Brought::default(), now_ms, ephemeral)
}

/// [`Session::new`] with chosen random bytes, as a client has whose random bytes repeat.
///
/// # Errors
/// As [`Session::new`].
pub fn session_with_random(
    parts: &SessionParts<'_>,
    request: &Request<'_>,
    now_ms: u64,
    random: [u8; 32],
) -> Result<Session, SessionError> {
    let ephemeral = Ephemeral::Hedged(random);
    Session::with_ephemeral(parts, request, &Brought::default(), now_ms, ephemeral)
}

/// `w` of a request with this body: what its ephemeral key is hedged with.
#[must_use]
pub fn hedged_words(request: &Request<'_>, body: &[u8; 16]) -> Vec<u8> {
    request::hedged_words(request, body, false)
}

/// [`Session::with_new_keys`] with a chosen ephemeral secret.
///
/// # Errors
/// As [`Session::with_new_keys`].
pub fn new_keys_session_with_ephemeral(
    parts: &SessionParts<'_>,
    request: &Request<'_>,
    new: &NewKeys<'_>,
    now_ms: u64,
    ephemeral: [u8; 32],
) -> Result<Session, SessionError> {
    let ephemeral = Ephemeral::Chosen(ephemeral);
    Session::with_ephemeral(parts, request, &Brought::keys(new), now_ms, ephemeral)
}

/// [`Session::with_kem`] with a chosen ephemeral secret.
///
/// # Errors
/// As [`Session::with_kem`].
pub fn kem_session_with_ephemeral(
    parts: &SessionParts<'_>,
    request: &Request<'_>,
    new: &NewKeys<'_>,
    now_ms: u64,
    ephemeral: [u8; 32],
) -> Result<Session, SessionError> {
    let ephemeral = Ephemeral::Chosen(ephemeral);
    Session::with_ephemeral(parts, request, &Brought::keys_and_kem(new), now_ms, ephemeral)
}

/// The ML-KEM key of new keys.
#[must_use]
pub fn kem_public(new: &NewKeys<'_>) -> KemPublic {
    new.kem_secret().public()
}

/// An ML-KEM key of any bytes. `None`: not 1184.
#[must_use]
pub fn kem_public_of(bytes: &[u8]) -> Option<KemPublic> {
    KemPublic::from_bytes(bytes)
}

/// The session's ephemeral public key and its pseudorandom key. `None` when the server's key is a
/// small-order point.
fn derive_session(parts: &SessionParts<'_>, ephemeral: [u8; 32]) -> Option<([u8; 32], Prk)> {
    let e = StaticSecret::from(ephemeral);
    let prk = parts.pair.session_prk(&*agree(&e, &parts.server.0)?);
    Some((PublicKey::from(&e).to_bytes(), prk))
}

/// A stage packet around any plaintext: rightly sealed, masked and authenticated, whatever it says.
/// `None` when the server's key is a small-order point.
#[must_use]
pub fn stage_packet(
    parts: &SessionParts<'_>,
    ephemeral: [u8; 32],
    epoch: u64,
    stage: u8,
    port: u16,
    plaintext: &[u8],
) -> Option<Vec<u8>> {
    let (big_e, prk) = derive_session(parts, ephemeral)?;
    let key = session_keys::box_key(&prk, parts.context, &sha256(&[&big_e]), epoch, stage, port);
    let sealed = client::seal_text(&key, plaintext.to_vec());
    Some(client::assemble_packet(parts.pair, parts.tag.tag(epoch, stage), &big_e, &sealed))
}

/// A CONFIRM around any plaintext, padding and all. `None` when the server's key is a small-order
/// point.
#[must_use]
pub fn confirm_packet(
    parts: &SessionParts<'_>,
    ephemeral: [u8; 32],
    epoch: u64,
    last_stage: u8,
    plaintext: &[u8],
) -> Option<Vec<u8>> {
    let (big_e, prk) = derive_session(parts, ephemeral)?;
    let key = session_keys::confirm_key(&prk, parts.context, &sha256(&[&big_e]));
    let sealed = key.seal(labels::CONFIRM_KEY, Zeroizing::new(plaintext.to_vec()));
    Some(client::assemble_packet(parts.pair, parts.tag.tag(epoch, last_stage), &big_e, &sealed))
}

/// The SSHSIG blob of a request; `ext` without the touch of its own signature.
#[must_use]
pub fn signed_data(context: &Context, big_e: &[u8; 32], body: &[u8; 16], ext: &[u8]) -> Vec<u8> {
    let message: [&[u8]; 4] = [&context.0, &sha256(&[big_e]), body, ext];
    sshsig::signed_data(labels::SSHSIG_NAMESPACE, &message)
}

/// The SSHSIG blob of the proof of new keys. `None` when the server's key is a small-order point.
#[must_use]
pub fn new_keys_signed_data(
    parts: &SessionParts<'_>,
    new: &NewKeys<'_>,
    big_e: &[u8; 32],
    body: &[u8; 16],
    source: Option<std::net::IpAddr>,
    kem: Option<&KemPublic>,
) -> Option<Vec<u8>> {
    let eh = sha256(&[big_e]);
    let blob = ProofParts {
        new: &Context::new(parts.server, &new.public),
        old: parts.context,
        proof_key: &*new.proof_key(parts.server, &eh)?,
        share: &new.share(),
        kem,
    };
    Some(blob.signed_data(&eh, body, &optional_address_bytes(source)))
}

/// The share `r` of new keys in their psk.
#[must_use]
pub fn share(new: &NewKeys<'_>) -> [u8; 32] {
    *new.share()
}

/// Builds what a security key signs when it is asked to sign `blob`.
#[must_use]
pub fn security_key_data(touch: Touch, blob: &[u8]) -> Vec<u8> {
    signing::security_key_data(touch, blob)
}

/// Every value between a pair and the one that takes its place. `None` when the server's key is a
/// small-order point.
#[must_use]
pub fn trace_new_keys(
    parts: &SessionParts<'_>,
    new: &NewKeys<'_>,
    ephemeral: [u8; 32],
) -> Option<Trace> {
    let eh = sha256(&[PublicKey::from(&StaticSecret::from(ephemeral)).as_bytes()]);
    Some(vec![
        ("ctx'", Context::new(parts.server, &new.public).0.to_vec()),
        ("cid", client_id(&new.old).to_vec()),
        ("cid'", client_id(&new.public).to_vec()),
        ("ss'", new.secret.agree(parts.server)?.to_vec()),
        ("r", new.share().to_vec()),
        ("psk'", new.psk().bytes().to_vec()),
        ("p", new.proof_key(parts.server, &eh)?.to_vec()),
    ])
}

/// Puts an ephemeral public key of one's choice into a packet, masked, and makes the mac right.
pub fn replace_ephemeral(pair: &PairKeys, packet: &mut [u8], big_e: &[u8; 32]) {
    let mask = pair.compute_mask(packet.last_chunk::<16>().map_or(&[][..], |sample| sample));
    for ((to, byte), mask) in packet.iter_mut().skip(EPHEMERAL_AT).zip(big_e).zip(mask) {
        *to = byte ^ mask;
    }
    remac(pair, packet);
}

/// Makes the mac of an edited packet right again, as a holder of `k_mac` can.
pub fn remac(pair: &PairKeys, packet: &mut [u8]) {
    let tag = packet.get(..TAG_LEN).unwrap_or_default();
    let mac = pair.compute_mac(tag, packet.get(EPHEMERAL_AT..).unwrap_or_default());
    for (to, from) in packet.iter_mut().skip(TAG_LEN).zip(mac) {
        *to = from;
    }
}

/// The 32 bytes that an answer seals, without keys behind them.
#[must_use]
pub fn ack_plaintext(ack: &Ack, has_keys: bool) -> [u8; 32] {
    ack.encode(AckParts { keys: has_keys, ciphertext: false })
}

/// Seals any bytes as a session's answer.
#[must_use]
pub fn seal_ack_plaintext(session: &ServerSession, plain: &[u8]) -> Vec<u8> {
    session.ack_key().seal(labels::ACK_KEY, Zeroizing::new(plain.to_vec()))
}

/// Every long-term value of a pair. `None` when a public key is a small-order point.
#[must_use]
pub fn trace_pair(server: &ServerSecret, client: &ClientSecret, psk: &Psk) -> Option<Trace> {
    let (server_public, client_public) = (server.public(), client.public());
    let context = Context::new(&server_public, &client_public);
    let shared = server.agree(&client_public.dh)?;
    let secret = PairSecret::of_server(psk, server, &client_public)?;
    let pair = secret.key_material(&context);
    let (k_cs, rest) = pair.split_at(32);
    let (k_mac, k_hp) = rest.split_at(32);
    Some(vec![
        ("pk_S", server_public.0.to_vec()),
        ("sk_C", client.derive_secret(labels::CLIENT_SIGN).to_vec()),
        ("pk_C", client_public.sign.to_vec()),
        ("x_C", client.derive_secret(labels::CLIENT_DH).to_vec()),
        ("X_C", client_public.dh.to_vec()),
        ("k_hedge", client.hedge_key().0.to_vec()),
        ("ctx", context.0.to_vec()),
        ("cid", client_id(&client_public).to_vec()),
        ("k_tag", TagKey::key_material(psk, &context).to_vec()),
        ("ss", shared.to_vec()),
        ("k_pair", secret.bytes().to_vec()),
        ("k_cs", k_cs.to_vec()),
        ("k_mac", k_mac.to_vec()),
        ("k_hp", k_hp.to_vec()),
    ])
}

/// Every value of one session that does not depend on its request. `None` when the server's key is
/// a small-order point.
#[must_use]
pub fn trace_session(
    server: &ServerPublic,
    client: &ClientPublic,
    pair: &PairKeys,
    ephemeral: [u8; 32],
) -> Option<Trace> {
    let context = Context::new(server, client);
    let e = StaticSecret::from(ephemeral);
    let big_e = PublicKey::from(&e).to_bytes();
    let es = agree(&e, &server.0)?;
    let eh = sha256(&[&big_e]);
    let prk = pair.session_prk(&es);
    Some(vec![
        ("E", big_e.to_vec()),
        ("es", es.to_vec()),
        ("eh", eh.to_vec()),
        ("sid", eh.iter().take(16).copied().collect()),
        ("prk", hkdf_extract_bytes(pair.static_key(), &*es)),
        ("k_ack", session_keys::ack_key(&prk, &context, &eh).0.to_vec()),
        ("k_conf", session_keys::confirm_key(&prk, &context, &eh).0.to_vec()),
    ])
}

/// The key of one stage packet. `None` when the server's key is a small-order point.
#[must_use]
pub fn trace_box_key(
    parts: &SessionParts<'_>,
    ephemeral: [u8; 32],
    epoch: u64,
    stage: u8,
    port: u16,
) -> Option<[u8; 32]> {
    let (big_e, prk) = derive_session(parts, ephemeral)?;
    Some(*session_keys::box_key(&prk, parts.context, &sha256(&[&big_e]), epoch, stage, port))
}

/// HKDF-Extract is HMAC(salt, ikm) (RFC 5869 section 2.2).
fn hkdf_extract_bytes(salt: &[u8], ikm: &[u8]) -> Vec<u8> {
    hmac_sha256(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, salt), &[ikm]).to_vec()
}
