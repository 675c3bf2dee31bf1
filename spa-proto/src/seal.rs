//! The sealing of answers and CONFIRMs: `n ‖ AEAD(k[0..32], n, aad, p)` with the nonce
//! `n = HMAC(k[32..64], aad ‖ p)[0..12]`.
//!
//! The nonce is a function of the plaintext, so nothing random is needed and two plaintexts never
//! share one but by a collision of 96 bits: a session seals some dozen.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use ring::hmac;
use zeroize::Zeroizing;

use crate::hash::{hmac_sha256, to_array};
use crate::layout::AEAD_TAG_LEN;

/// Length of the nonce in front.
const NONCE_LEN: usize = 12;
/// Bytes that sealing adds.
pub(crate) const SEAL_OVERHEAD: usize = NONCE_LEN + AEAD_TAG_LEN;

/// `k_ack` or `k_conf`: 32 bytes for the AEAD, 32 for the nonce.
#[derive(Clone)]
pub(crate) struct SealKey(pub(crate) Zeroizing<[u8; 64]>);

impl SealKey {
    fn aead(&self) -> ChaCha20Poly1305 {
        let key: Zeroizing<[u8; 32]> = Zeroizing::new(to_array(self.0.as_slice()));
        ChaCha20Poly1305::new(&(*key).into())
    }

    fn nonce(&self, aad: &[u8], plain: &[u8]) -> [u8; NONCE_LEN] {
        let (_, key) = self.0.split_at(32);
        to_array(&hmac_sha256(&hmac::Key::new(hmac::HMAC_SHA256, key), &[aad, plain]))
    }

    /// Seals a plaintext; the result is [`SEAL_OVERHEAD`] bytes longer.
    pub(crate) fn seal(&self, aad: &[u8], mut plain: Zeroizing<Vec<u8>>) -> Vec<u8> {
        let nonce = self.nonce(aad, &plain);
        let mut out = Vec::with_capacity(plain.len() + SEAL_OVERHEAD);
        // Only a plaintext above 256 GiB fails (RFC 8439 section 2.8).
        if let Ok(tag) =
            self.aead().encrypt_inout_detached(&nonce.into(), aad, plain.as_mut_slice().into())
        {
            out.extend_from_slice(&nonce);
            out.extend_from_slice(&plain);
            out.extend_from_slice(&tag);
        }
        out
    }

    /// Opens what [`SealKey::seal`] made; `None` for everything else.
    pub(crate) fn open(&self, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let (text, tag) = rest.split_last_chunk::<AEAD_TAG_LEN>()?;
        let mut plain = Zeroizing::new(text.to_vec());
        self.aead()
            .decrypt_inout_detached(
                &(*nonce).into(),
                aad,
                plain.as_mut_slice().into(),
                &(*tag).into(),
            )
            .ok()?;
        Some(plain)
    }
}
