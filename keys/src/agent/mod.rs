//! A signing half that an ssh-agent holds: a plain Ed25519 key, or a FIDO2 security key behind the
//! agent.
//!
//! The agent signs what `ssh-keygen -Y sign` would have it sign (OpenSSH PROTOCOL.sshsig), so no
//! agent needs to know us.

mod connection;
mod error;
#[cfg(test)]
mod tests;
mod wire;

use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, UnparsedPublicKey};
use spa_proto::{KeyKind, SignError, Signature, Signer};

pub use error::AgentError;
pub use wire::AgentKey;
use wire::UnusableKey;

use crate::text::{Printable, printable};

/// A key that the agent shows.
struct Shown {
    key: Result<AgentKey, UnusableKey>,
    blob: Vec<u8>,
    comment: String,
}

impl Shown {
    /// Describes it in one line.
    fn describe(&self) -> String {
        let why = match &self.key {
            Ok(_) => String::new(),
            Err(UnusableKey(kind)) => {
                format!(" ({}: only Ed25519 can sign knocks)", printable(kind))
            }
        };
        format!("{} {}{why}", key_fingerprint(&self.blob), printable(&self.comment))
    }
}

impl AgentKey {
    /// Returns the fingerprint as ssh shows it: `SHA256:…`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        key_fingerprint(&wire::key_blob(self.kind, &self.sign))
    }

    /// Returns the key as a line of a `.pub` file, without a comment.
    #[must_use]
    pub fn to_ssh(&self) -> String {
        ssh_line(&wire::key_blob(self.kind, &self.sign))
    }

    /// Finds the key of this name in the agent: its line of a `.pub` file (with or without
    /// comment), its comment, or its fingerprint as ssh shows it.
    ///
    /// # Errors
    /// No agent; no such key, or several: then the message lists what there is.
    pub fn find(name: &str) -> Result<(Self, String), AgentError> {
        let shown = list_keys()?;
        let mut words = name.split_whitespace();
        let line = [words.next().unwrap_or_default(), words.next().unwrap_or_default()].join(" ");
        let fits = |shown: &&Shown| {
            shown.comment == name
                || key_fingerprint(&shown.blob) == name
                || ssh_line(&shown.blob) == line
        };
        let found: Vec<&Shown> = shown.iter().filter(fits).collect();
        let name: Printable<'_> = printable(name);
        let lines =
            |shown: &mut dyn Iterator<Item = String>| shown.collect::<Vec<_>>().join("\n  ");
        match found.as_slice() {
            [Shown { key: Ok(key), comment, .. }] => Ok((*key, comment.clone())),
            [one] => Err(AgentError::Choice(format!(
                "this key cannot sign knocks: {}; make one that can: ssh-keygen -t ed25519",
                one.describe()
            ))),
            [] if shown.is_empty() => Err(AgentError::Empty(name.to_string())),
            [] => Err(AgentError::Choice(format!(
                "the ssh-agent has no key `{name}`; name one of these by its comment or \
                 fingerprint:\n  {}",
                lines(&mut shown.iter().map(Shown::describe))
            ))),
            several => Err(AgentError::Choice(format!(
                "several keys in the ssh-agent are called `{name}`; name one by its \
                 fingerprint:\n  {}",
                lines(&mut several.iter().map(|shown| shown.describe()))
            ))),
        }
    }

    /// Looks for this key in the agent, and returns its comment there. Nothing is signed, so nobody
    /// is asked for a touch.
    ///
    /// # Errors
    /// No agent, or it does not show it.
    pub fn look(&self) -> Result<String, AgentError> {
        let blob = wire::key_blob(self.kind, &self.sign);
        let shown = list_keys()?;
        let all = shown.len();
        match shown.into_iter().find(|shown| shown.blob == blob) {
            Some(own) => Ok(own.comment),
            None if all == 0 => Err(AgentError::Empty(self.fingerprint())),
            None => Err(AgentError::Missing(self.fingerprint())),
        }
    }

    /// Has the agent sign.
    ///
    /// # Errors
    /// [`AgentError`], with what to do.
    pub fn sign(&self, data: &[u8]) -> Result<Signature, AgentError> {
        let blob = wire::key_blob(self.kind, &self.sign);
        let mut content = Vec::with_capacity(data.len() + 128);
        wire::put_string(&mut content, &blob);
        wire::put_string(&mut content, data);
        content.extend_from_slice(&[0; 4]);
        let Some(answer) =
            connection::send_request(wire::SIGN_EXCHANGE, &content, connection::SIGN_TIMEOUT)?
        else {
            return Err(self.explain_refusal(&blob));
        };
        let mut reader = wire::Reader(&answer);
        let signature =
            reader.take_string().ok_or(AgentError::Protocol("a signature that is cut off"))?;
        let signature = wire::read_signature(self.kind, signature)?;
        // The server would answer a wrong one with silence, and the user would look for the fault
        // everywhere else.
        if self.is_signed(data, &signature) {
            Ok(signature)
        } else {
            Err(AgentError::Wrong(self.fingerprint()))
        }
    }

    /// Finds out why the agent refused: it says no in one word only, but its list of keys tells
    /// more.
    fn explain_refusal(&self, blob: &[u8]) -> AgentError {
        match list_keys() {
            Ok(shown) if shown.is_empty() => AgentError::Empty(self.fingerprint()),
            Ok(shown) if shown.iter().any(|shown| shown.blob == blob) => {
                AgentError::Refused(self.fingerprint())
            }
            Ok(_) => AgentError::Missing(self.fingerprint()),
            Err(error) => error,
        }
    }

    fn is_signed(&self, data: &[u8], signature: &Signature) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.sign);
        match (self.kind, signature.touch) {
            (KeyKind::Ed25519, None) => key.verify(data, &signature.bytes).is_ok(),
            (KeyKind::SecurityKey, Some(touch)) => {
                key.verify(&signed_by_security_key(touch, data), &signature.bytes).is_ok()
            }
            _ => false,
        }
    }
}

impl Signer for AgentKey {
    fn sign(&self, blob: &[u8]) -> Result<Signature, SignError> {
        Self::sign(self, blob).map_err(|error| SignError(error.to_string()))
    }

    fn kind(&self) -> KeyKind {
        self.kind
    }
}

/// Builds what a security key signs for `data` (OpenSSH PROTOCOL.u2f, "signature format"):
/// `SHA-256("ssh:") | flags u8 | counter u32 | SHA-256(data)`.
fn signed_by_security_key(touch: spa_proto::Touch, data: &[u8]) -> Vec<u8> {
    let mut signed = digest(&SHA256, b"ssh:").as_ref().to_vec();
    signed.push(touch.flags);
    signed.extend_from_slice(&touch.counter.to_be_bytes());
    signed.extend_from_slice(digest(&SHA256, data).as_ref());
    signed
}

fn list_keys() -> Result<Vec<Shown>, AgentError> {
    let odd = || AgentError::Protocol("a list of keys that is cut off");
    let Some(answer) =
        connection::send_request(wire::LIST_EXCHANGE, &[], connection::LIST_TIMEOUT)?
    else {
        return Ok(Vec::new());
    };
    let mut reader = wire::Reader(&answer);
    let count = reader.take_u32().ok_or_else(odd)?;
    let mut shown = Vec::new();
    for _ in 0..count {
        let blob = reader.take_string().ok_or_else(odd)?.to_vec();
        let comment = String::from_utf8_lossy(reader.take_string().ok_or_else(odd)?).into_owned();
        let key = wire::read_key(&blob);
        shown.push(Shown { key, blob, comment });
    }
    Ok(shown)
}

fn key_fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", wire::encode_base64(digest(&SHA256, blob).as_ref(), false))
}

/// `ssh-ed25519 AAAA…`
fn ssh_line(blob: &[u8]) -> String {
    let kind = wire::Reader(blob).take_string().unwrap_or_default();
    format!("{} {}", String::from_utf8_lossy(kind), wire::encode_base64(blob, true))
}
