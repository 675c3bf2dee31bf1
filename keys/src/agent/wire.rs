//! Encodings of OpenSSH: strings, keys, signatures and the agent's messages.
//!
//! ```text
//! string            length u32 big-endian | bytes                     (RFC 4251 section 5)
//! ssh-ed25519       string type | string key 32                       (RFC 8709 section 4)
//! sk-ssh-ed25519@…  string type | string key 32 | string application  (OpenSSH PROTOCOL.u2f)
//! signature         string type | string 64                           (RFC 8709 section 6)
//!                   | flags u8 | counter u32, of a security key       (OpenSSH PROTOCOL.u2f)
//! message           length u32 | number u8 | content   (draft-ietf-sshm-ssh-agent section 3)
//! ```

use spa_proto::{KeyKind, Signature, Touch};

use super::error::AgentError;

/// Numbers of a request and of its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    /// Message number of the request.
    pub(super) request: u8,
    /// Message number of the answer, unless it is a failure.
    pub(super) answer: u8,
}

/// `SSH_AGENT_FAILURE`.
pub(super) const SSH_AGENT_FAILURE: u8 = 5;
/// `SSH_AGENTC_REQUEST_IDENTITIES` and `SSH_AGENT_IDENTITIES_ANSWER`.
pub(super) const LIST_EXCHANGE: Exchange = Exchange { request: 11, answer: 12 };
/// `SSH_AGENTC_SIGN_REQUEST` and `SSH_AGENT_SIGN_RESPONSE`.
pub(super) const SIGN_EXCHANGE: Exchange = Exchange { request: 13, answer: 14 };

const PLAIN_KEY_TYPE: &[u8] = b"ssh-ed25519";
const SECURITY_KEY_TYPE: &[u8] = b"sk-ssh-ed25519@openssh.com";
/// The only application that the server takes: a key for a web site must not open anything, nor the
/// other way round.
const SSH_APPLICATION: &[u8] = b"ssh:";

/// A public key in an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentKey {
    /// The Ed25519 public key.
    pub sign: [u8; 32],
    /// Plain, or of a security key.
    pub kind: KeyKind,
}

/// Type of a key that cannot sign knocks, for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnusableKey(pub(super) String);

/// Reads fields one after the other.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take_bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(field)
    }

    /// Takes a number, big-endian.
    pub(super) fn take_u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take_bytes(4)?.try_into().ok()?))
    }

    /// Takes a string with its length in front.
    pub(super) fn take_string(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.take_u32()?).ok()?;
        self.take_bytes(len)
    }
}

/// Appends a string. The length of what we write always fits.
pub(super) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Encodes a public key as ssh writes it.
pub(super) fn key_blob(kind: KeyKind, sign: &[u8; 32]) -> Vec<u8> {
    let mut blob = Vec::with_capacity(96);
    match kind {
        KeyKind::Ed25519 => {
            put_string(&mut blob, PLAIN_KEY_TYPE);
            put_string(&mut blob, sign);
        }
        KeyKind::SecurityKey => {
            put_string(&mut blob, SECURITY_KEY_TYPE);
            put_string(&mut blob, sign);
            put_string(&mut blob, SSH_APPLICATION);
        }
    }
    blob
}

/// Reads the key in a blob, if it is of a kind that can sign knocks.
pub(super) fn read_key(blob: &[u8]) -> Result<AgentKey, UnusableKey> {
    let mut reader = Reader(blob);
    let kind = reader.take_string().unwrap_or_default();
    let name = || String::from_utf8_lossy(kind).into_owned();
    let sign: Option<[u8; 32]> = reader.take_string().and_then(|key| key.try_into().ok());
    match (kind, sign) {
        (PLAIN_KEY_TYPE, Some(sign)) if reader.0.is_empty() => {
            Ok(AgentKey { sign, kind: KeyKind::Ed25519 })
        }
        (SECURITY_KEY_TYPE, Some(sign)) => match reader.take_string() {
            Some(SSH_APPLICATION) if reader.0.is_empty() => {
                Ok(AgentKey { sign, kind: KeyKind::SecurityKey })
            }
            _ => Err(UnusableKey(format!("{} for another application than ssh:", name()))),
        },
        _ => Err(UnusableKey(name())),
    }
}

/// Reads the signature in an agent's answer.
pub(super) fn read_signature(kind: KeyKind, blob: &[u8]) -> Result<Signature, AgentError> {
    let odd = AgentError::Protocol;
    let mut reader = Reader(blob);
    let wanted = if kind == KeyKind::Ed25519 { PLAIN_KEY_TYPE } else { SECURITY_KEY_TYPE };
    if reader.take_string() != Some(wanted) {
        return Err(odd("a signature of another kind than the key"));
    }
    let bytes: Option<[u8; 64]> = reader.take_string().and_then(|bytes| bytes.try_into().ok());
    let bytes = bytes.ok_or(odd("a signature that is not 64 bytes long"))?;
    let touch = match (kind, reader.0) {
        (KeyKind::Ed25519, []) => None,
        (KeyKind::SecurityKey, [flags, a, b, c, d]) => {
            let counter = u32::from_be_bytes([*a, *b, *c, *d]);
            Some(Touch::new(*flags, counter).ok_or(AgentError::Untouched)?)
        }
        _ => return Err(odd("a signature with something behind it, or without its touch")),
    };
    Ok(Signature { bytes, touch })
}

/// Encodes Base64 (RFC 4648 section 4), as ssh writes public keys; fingerprints come without the
/// padding.
pub(super) fn encode_base64(bytes: &[u8], padded: bool) -> String {
    const BASE64_ALPHABET: &[u8; 64] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let six = usize::try_from(word >> (18 - 6 * place) & 63).unwrap_or(0);
            match BASE64_ALPHABET.get(six) {
                Some(sign) if place <= chunk.len() => text.push(char::from(*sign)),
                _ if padded => text.push('='),
                _ => {}
            }
        }
    }
    text
}
