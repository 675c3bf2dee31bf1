//! Failures of an ssh-agent.

use std::path::PathBuf;
use std::time::Duration;

/// Reason why an agent did not sign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// `SSH_AUTH_SOCK` is not set.
    #[error(
        "no ssh-agent: SSH_AUTH_SOCK is not set; start one: eval \"$(ssh-agent)\", then: ssh-add"
    )]
    NoAgent,
    /// Nothing listens there, or it hung up.
    #[error(
        "the ssh-agent at {} cannot be used: {source}; is it running? ssh-add -l",
        .path.display()
    )]
    Gone {
        /// `SSH_AUTH_SOCK`.
        path: PathBuf,
        /// Error that the system gave.
        source: std::io::Error,
    },
    /// No answer in time.
    #[error("the ssh-agent gave no answer within {} seconds: does it wait for a touch, a \
        confirmation or a PIN? Try again, or look with: ssh-add -l", .0.as_secs())]
    Slow(Duration),
    /// The agent shows no keys at all.
    #[error(
        "the ssh-agent has no keys, or is locked; this key is needed: {0}. Load it: ssh-add FILE, \
         or unlock the agent: ssh-add -X"
    )]
    Empty(String),
    /// It has others.
    #[error(
        "the ssh-agent has other keys, but not {0}; load it: ssh-add FILE (for a security key: \
         with it plugged in)"
    )]
    Missing(String),
    /// It has the key and does not sign.
    #[error(
        "the ssh-agent has the key {0} and refused to sign: it was not confirmed or touched, the \
         security key is not plugged in, or the key is for some hosts only (ssh-add -h)"
    )]
    Refused(String),
    /// The key signed without a touch.
    #[error(
        "the security key signed without a touch, which no server takes; make one that asks for \
         it: ssh-keygen -t ed25519-sk"
    )]
    Untouched,
    /// The signature does not verify.
    #[error("the ssh-agent made a signature that the key {0} did not make")]
    Wrong(String),
    /// The answer breaks the agent's protocol.
    #[error("what listens at SSH_AUTH_SOCK is not an ssh-agent: {0}")]
    Protocol(&'static str),
    /// No key, or several, of this name.
    #[error("{0}")]
    Choice(String),
}
