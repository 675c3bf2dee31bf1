//! The signed data of an SSHSIG signature (OpenSSH PROTOCOL.sshsig), so that an ssh-agent can be
//! the signer and `ssh-keygen -Y verify` can check one by hand.

use crate::hash::sha256;

/// `"SSHSIG" ‖ string namespace ‖ string reserved ‖ string "sha256" ‖ string H(message)`, string =
/// u32 big-endian length, then the bytes; the message is the parts, one after the other: `ctx ‖ eh
/// ‖ body ‖ ext` of a session. Each part has a fixed length, or one that a part before it
/// says.
pub(crate) fn signed_data(namespace: &[u8], message: &[&[u8]]) -> Vec<u8> {
    let hash = sha256(message);
    let mut blob = Vec::with_capacity(6 + 4 + namespace.len() + 4 + 4 + 6 + 4 + 32);
    blob.extend_from_slice(b"SSHSIG");
    for field in [namespace, b"", b"sha256", &hash] {
        blob.extend_from_slice(&(field.len() as u32).to_be_bytes());
        blob.extend_from_slice(field);
    }
    blob
}
