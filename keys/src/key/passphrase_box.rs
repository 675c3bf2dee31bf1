//! A text under a passphrase: the box of [`super::locked`] for more than a key.
//!
//! ```text
//! memory KiB u32 | passes u8 | lanes u8 | salt 16 | sealed: text, authenticator 16    big-endian
//! ```
//! All in front of the sealed part is its associated data behind the label of its use. The nonce is
//! 0: salt and so key are fresh for each box.

use chacha20poly1305::aead::AeadInOut;
use zeroize::Zeroizing;

use super::locked::{Cost, LockError, SALT_LEN, make_cipher};
use crate::text::SecretText;

/// Bytes in front of the sealed part.
const HEADER_LEN: usize = 6 + SALT_LEN;
const TAG_LEN: usize = 16;

/// Seals a text; `label` says what for, and the same one opens it.
///
/// # Errors
/// See [`LockError`].
pub fn seal_text(
    label: &str,
    text: &SecretText,
    passphrase: &SecretText,
    cost: Cost,
) -> Result<Vec<u8>, LockError> {
    let random: [u8; 32] = spa_proto::random()?;
    let salt = random.first_chunk::<SALT_LEN>().copied().unwrap_or_default();
    let header = [&cost.to_bytes()[..], &salt].concat();
    let cipher = make_cipher(passphrase, &salt, cost)?;
    let mut body = Zeroizing::new(text.expose().as_bytes().to_vec());
    let tag = cipher
        .encrypt_inout_detached(
            &[0; 12].into(),
            &[label.as_bytes(), &header].concat(),
            body.as_mut_slice().into(),
        )
        .map_err(|_| LockError::Content("it cannot be sealed"))?;
    Ok([&header[..], &body, &tag].concat())
}

/// Opens a box of [`seal_text`].
///
/// # Errors
/// [`LockError::Passphrase`] when it is the wrong one or a byte was changed, else see
/// [`LockError`].
pub fn open_text(
    label: &str,
    sealed: &[u8],
    passphrase: &SecretText,
) -> Result<SecretText, LockError> {
    let short = LockError::Content("it is too short");
    let (header, sealed) = sealed.split_at_checked(HEADER_LEN).ok_or(short.clone())?;
    let (body, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(short.clone())?;
    let (cost, salt) = header.split_last_chunk::<SALT_LEN>().ok_or(short)?;
    let cost = Cost::from_bytes(cost).ok_or(LockError::Content("its cost is not possible"))?;
    let cipher = make_cipher(passphrase, salt, cost)?;
    let mut body = Zeroizing::new(body.to_vec());
    cipher
        .decrypt_inout_detached(
            &[0; 12].into(),
            &[label.as_bytes(), header].concat(),
            body.as_mut_slice().into(),
            &(*tag).into(),
        )
        .map_err(|_| LockError::Passphrase)?;
    String::from_utf8(std::mem::take(&mut *body))
        .map(SecretText::new)
        .map_err(|_| LockError::Content("it holds no text"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn opens_with_its_passphrase_and_label_only() {
        let words = |text: &str| SecretText::new(text.to_owned());
        let cost = Cost::new(8 * 1024, 1, 1).unwrap();
        let sealed = seal_text("backup", &words("a text"), &words("horse"), cost).unwrap();
        assert_eq!(open_text("backup", &sealed, &words("horse")).unwrap().expose(), "a text");
        for (label, passphrase) in [("backup", "hors"), ("other", "horse")] {
            let refused = open_text(label, &sealed, &words(passphrase));
            assert_eq!(refused.err(), Some(LockError::Passphrase));
        }
        for at in 0..sealed.len() {
            let mut other = sealed.clone();
            // The lowest bit of each byte: of the cost's, too, which stays a possible one.
            other[at] ^= 1;
            assert!(open_text("backup", &other, &words("horse")).is_err(), "byte {at}");
            assert!(open_text("backup", &sealed[..at], &words("horse")).is_err(), "{at} bytes");
        }
    }
}
