//! Fingerprints: what two people compare over the telephone.

use std::fmt;

use ring::digest::{SHA256, digest};
use spa_proto::{ClientPublic, KeyKind, ServerPublic};

/// The first 12 bytes of SHA-256 over the public key's bytes (64 for a client, with a security key
/// also `sk-ssh-ed25519@openssh.com`; 32 for a server), shown as
/// `SHA256:` and six groups of four hexadecimal digits. 96 bits: making a second key that shows the
/// same is out of anyone's reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 12]);

/// Computes the first `N` bytes of SHA-256 of `bytes`, `N` at most 32.
pub(crate) fn sha256_prefix<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *to = *from;
    }
    out
}

/// Computes the first `N` bytes of SHA-256 that name a client's public key. The kind counts: the
/// same bytes in a file and in a security key are two clients.
pub(crate) fn client_prefix<const N: usize>(key: &ClientPublic) -> [u8; N] {
    let kind: &[u8] = match key.kind {
        KeyKind::Ed25519 => b"",
        KeyKind::SecurityKey => b"sk-ssh-ed25519@openssh.com",
    };
    sha256_prefix(&[&key.to_bytes(), kind].concat())
}

impl From<&ClientPublic> for Fingerprint {
    fn from(key: &ClientPublic) -> Self {
        Self(client_prefix(key))
    }
}

impl From<&ServerPublic> for Fingerprint {
    fn from(key: &ServerPublic) -> Self {
        Self(sha256_prefix(&key.0))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SHA256:")?;
        self.0.chunks(2).enumerate().try_for_each(|(at, pair)| {
            f.write_str(if at == 0 { "" } else { "-" })?;
            pair.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answer() {
        // sha256 of 32 zero bytes: 66687aadf862bd776c8fc18b8e9f8e20…
        let shown = Fingerprint::from(&ServerPublic([0; 32])).to_string();
        assert_eq!(shown, "SHA256:6668-7aad-f862-bd77-6c8f-c18b");
    }
}
