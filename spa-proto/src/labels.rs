//! Every domain-separation label in one place. ASCII, never NUL-terminated.

/// Names version and suite; the first part of [`crate::Context`], so both are bound into every key.
pub(crate) const SUITE_NAME: &[u8] = b"SPA/2 s1 X25519 Ed25519 ChaCha20Poly1305 SHA256";
/// First part of a client's identity, which names no server.
pub(crate) const CLIENT_ID: &[u8] = b"SPA/2 client";
/// Salt and info of the tag key.
pub(crate) const TAG_KEY: &[u8] = b"SPA/2 tag";
/// Info of the pair's static, mac and mask keys.
pub(crate) const PAIR_KEYS: &[u8] = b"SPA/2 pair";
/// Salt of a session's ephemeral secret.
pub(crate) const EPHEMERAL_SECRET: &[u8] = b"SPA/2 ephemeral";
/// Info of a stage packet's key.
pub(crate) const STAGE_KEY: &[u8] = b"SPA/2 box";
/// Info of the answer's key, and the answer's associated data.
pub(crate) const ACK_KEY: &[u8] = b"SPA/2 ack";
/// Info of a CONFIRM's key, and its associated data.
pub(crate) const CONFIRM_KEY: &[u8] = b"SPA/2 confirm";
/// Prefix of the port-hopping input.
pub(crate) const HOP_INPUT: &[u8] = b"SPA/2 hop";
/// Salt for deriving the hop key from the server's secret.
pub(crate) const HOP_KEY: &[u8] = b"SPA/2 hop key";
/// Prefix of a service name when its number is derived.
pub(crate) const SERVICE_NUMBER: &[u8] = b"SPA/2 service";
/// Salt for deriving a client's secrets from its seed. Public keys stayed what they were in SPA/1.
pub(crate) const CLIENT_SECRETS: &[u8] = b"SPA/1 client";
/// Info of the client's Ed25519 seed.
pub(crate) const CLIENT_SIGN: &[u8] = b"SPA/1 client Ed25519";
/// Info of the client's X25519 secret.
pub(crate) const CLIENT_DH: &[u8] = b"SPA/1 client X25519";
/// Info of the secret that hedges a client's random bytes.
pub(crate) const CLIENT_HEDGE: &[u8] = b"SPA/2 client hedge";
/// Info of the share that a client gives to its new psk.
pub(crate) const CLIENT_SHARE: &[u8] = b"SPA/2 client share";
/// Info of the client's ML-KEM seed.
pub(crate) const CLIENT_KEM: &[u8] = b"SPA/2 client ML-KEM";
/// Namespace of a session's SSHSIG signature (OpenSSH PROTOCOL.sshsig).
pub(crate) const SSHSIG_NAMESPACE: &[u8] = b"spa-v2";
/// Namespace of the signature by which new keys prove themselves: never to be mistaken for a
/// session's.
pub(crate) const NEW_KEYS_NAMESPACE: &[u8] = b"spa-v2-new";
/// Info of the psk that comes with new keys.
pub(crate) const NEW_PSK: &[u8] = b"SPA/2 new psk";
/// Info of what the proof of new keys covers.
pub(crate) const NEW_PROOF: &[u8] = b"SPA/2 new proof";
/// Salt for deriving an invitation's keys.
pub(crate) const INVITATION_KEYS: &[u8] = b"SPA/2 invitation";
/// Info of an invitation's client seed.
pub(crate) const INVITATION_CLIENT: &[u8] = b"SPA/2 invitation client";
/// Info of an invitation's psk.
pub(crate) const INVITATION_PSK: &[u8] = b"SPA/2 invitation psk";
/// OpenSSH's name for Ed25519 in a FIDO2 key; ends the context of a client with such a key.
pub(crate) const SK_KEY_TYPE: &[u8] = b"sk-ssh-ed25519@openssh.com";
/// The only FIDO2 application of such a key.
pub(crate) const SK_APPLICATION: &[u8] = b"ssh:";
