//! SHA-256 (FIPS 180-4), HMAC (RFC 2104) and HKDF (RFC 5869), all by ring.

use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::{digest, hmac};
use zeroize::Zeroizing;

use crate::labels;

/// SHA-256 over the parts, one after the other.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    to_array(context.finish().as_ref())
}

/// HMAC-SHA-256 over the parts.
pub(crate) fn hmac_sha256(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    to_array(context.sign().as_ref())
}

/// The first `N` bytes, zeros where there are fewer; every caller passes a digest, which is longer.
pub(crate) fn to_array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}

/// HKDF-Extract.
pub(crate) fn hkdf_extract(salt: &[u8], ikm: &[u8]) -> Prk {
    Salt::new(HKDF_SHA256, salt).extract(ikm)
}

/// HKDF-Expand to `N` bytes, 96 at most.
pub(crate) fn hkdf_expand<const N: usize>(prk: &Prk, info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    struct Len(usize);
    impl KeyType for Len {
        fn len(&self) -> usize {
            self.0
        }
    }
    // HKDF fails only above 255 blocks. A failure would leave a key of zeros behind, so it must not
    // compile.
    const { assert!(N <= 255 * 32) };
    let mut out = Zeroizing::new([0; N]);
    let filled = prk.expand(info, Len(N)).and_then(|okm| okm.fill(out.as_mut_slice()));
    debug_assert!(filled.is_ok());
    out
}

/// The number that a service's name has on the wire: the first two bytes, big-endian, of
/// SHA-256(`"SPA/2 service"` ‖ name). Needs no table on the client; a server refuses to start when
/// two of its services share a number.
#[must_use]
pub fn service_id(name: &str) -> u16 {
    u16::from_be_bytes(to_array(&sha256(&[labels::SERVICE_NUMBER, name.as_bytes()])))
}
