//! Offsets and lengths of a stage packet, in bytes.
//!
//! ```text
//! off len
//! 0   8   tag
//! 8   8   mac
//! 16  32  masked ephemeral public key
//! 48  96+ sealed: body 16, signature 64, extension, padding, Poly1305 16
//! ```

/// The tag's length.
pub(crate) const TAG_LEN: usize = 8;
/// The mac's length.
pub(crate) const MAC_LEN: usize = 8;
/// Offset of the masked ephemeral key; all from here on is under the mac.
pub(crate) const EPHEMERAL_AT: usize = TAG_LEN + MAC_LEN;
/// Offset of the sealed part.
pub(crate) const SEALED_AT: usize = EPHEMERAL_AT + 32;
/// The request body's length.
pub(crate) const BODY_LEN: usize = 16;
/// An Ed25519 signature's length (RFC 8032).
pub(crate) const SIGNATURE_LEN: usize = 64;
/// A Poly1305 authenticator's length (RFC 8439); also how many last bytes of a packet key the
/// header mask.
pub(crate) const AEAD_TAG_LEN: usize = 16;

/// The shortest stage packet that a server looks at, in bytes: no extension, no padding.
pub const MIN_PACKET: usize = SEALED_AT + BODY_LEN + SIGNATURE_LEN + AEAD_TAG_LEN;
/// A client's datagram without padding of its own choice, in bytes: room for the longest extension
/// (186 bytes) whether there is one or not, so that the length tells neither an enrolment nor a
/// CONFIRM from a knock.
pub const CLIENT_PACKET: usize = MIN_PACKET + 192;
/// The largest stage packet: what always fits the IPv6 minimum MTU (RFC 8200 section 5: 1280 - 40 -
/// 8).
pub const MAX_PACKET: usize = 1232;
/// The shortest answer, in bytes; answers are shorter than what they answer, so that the server
/// amplifies nothing.
pub const ACK_LEN: usize = 60;
/// The answer that also tells the server's present keys, in bytes: to clients that came by its
/// previous key.
pub const ACK_KEYS_LEN: usize = ACK_LEN + 64;
/// Most CONFIRMs of a session; they are numbered from 1.
pub const MAX_CONFIRMS: u8 = 8;
/// Length of a tag epoch in milliseconds.
pub const EPOCH_MS: u64 = 60_000;
/// Length of a hop epoch in milliseconds: ten tag epochs, so a packet's tag tells its hop epoch
/// too.
pub const HOP_EPOCH_MS: u64 = 10 * EPOCH_MS;
/// The most stages a sequence may have.
pub const MAX_STAGES: u8 = 8;

/// The tag epoch of a time in unix milliseconds.
#[must_use]
pub fn epoch_of(unix_ms: u64) -> u64 {
    unix_ms / EPOCH_MS
}
