//! Every domain-separation label of SPA/1 in one place. ASCII, never NUL-terminated.

/// Names version and suite; the first part of [`crate::Context`], so both are bound into every key.
pub(crate) const SUITE: &[u8] = b"SPA/1 s1 X25519 Ed25519 ChaCha20Poly1305 SHA256";
/// Salt and info of the gate keys (tag, mac, header protection).
pub(crate) const GATE: &[u8] = b"SPA/1 gate";
/// Info of the static pair key.
pub(crate) const PAIR: &[u8] = b"SPA/1 pair";
/// Info of a stage packet's key.
pub(crate) const BOX: &[u8] = b"SPA/1 box";
/// Info of the ack key, and the ack's associated data.
pub(crate) const ACK: &[u8] = b"SPA/1 ack";
/// Prefix of the port-hopping input.
pub(crate) const HOP: &[u8] = b"SPA/1 hop";
/// Salt for deriving the hop key from the server's secret.
pub(crate) const HOP_KEY: &[u8] = b"SPA/1 hop key";
/// Prefix of a service name when its number is derived.
pub(crate) const SERVICE: &[u8] = b"SPA/1 service";
/// Salt for deriving a client's two secrets from its seed.
pub(crate) const CLIENT: &[u8] = b"SPA/1 client";
/// Info of the client's Ed25519 seed.
pub(crate) const CLIENT_SIGN: &[u8] = b"SPA/1 client Ed25519";
/// Info of the client's X25519 secret.
pub(crate) const CLIENT_DH: &[u8] = b"SPA/1 client X25519";
/// Namespace of a session's SSHSIG signature (OpenSSH PROTOCOL.sshsig).
pub(crate) const SSHSIG_NAMESPACE: &[u8] = b"spa-v1";
/// Namespace of the signature by which new keys prove themselves: never to be mistaken for a
/// session's.
pub(crate) const NEW_KEYS_NAMESPACE: &[u8] = b"spa-v1-new";
/// Info of the psk that comes with new keys.
pub(crate) const NEW_PSK: &[u8] = b"SPA/1 new psk";
/// Info of what the proof of new keys covers.
pub(crate) const NEW_PROOF: &[u8] = b"SPA/1 new proof";
/// Salt for deriving an invitation's keys.
pub(crate) const INVITATION: &[u8] = b"SPA/1 invitation";
/// Info of an invitation's client seed.
pub(crate) const INVITATION_CLIENT: &[u8] = b"SPA/1 invitation client";
/// Info of an invitation's psk.
pub(crate) const INVITATION_PSK: &[u8] = b"SPA/1 invitation psk";
/// OpenSSH's name for Ed25519 in a FIDO2 key; ends the context of a client with such a key.
pub(crate) const SK_KEY_TYPE: &[u8] = b"sk-ssh-ed25519@openssh.com";
/// The only FIDO2 application of such a key.
pub(crate) const SK_APPLICATION: &[u8] = b"ssh:";
