//! How a command ends when it does not succeed.

use std::fmt;

use spa_keys::exit;

use crate::firewall::FirewallError;

/// A sentence for the operator and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// One of [`spa_keys::exit`].
    pub code: u8,
    /// What, why, what to do next.
    pub text: String,
}

impl Failure {
    /// Exit code 1.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { code: exit::FAILURE, text: text.into() }
    }

    /// Exit code 78.
    #[must_use]
    pub fn config(text: impl Into<String>) -> Self {
        Self { code: exit::CONFIG, text: text.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<FirewallError> for Failure {
    fn from(error: FirewallError) -> Self {
        let code =
            if matches!(error, FirewallError::Permission(_)) { exit::PERMISSION } else { exit::FAILURE };
        Self { code, text: error.to_string() }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
        Self { code: if denied { exit::PERMISSION } else { exit::FAILURE }, text: error.to_string() }
    }
}
