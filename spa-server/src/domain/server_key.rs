//! Versions of the server's key: while it is being replaced there are two.

/// By which of the server's keys a client comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerKeyVersion {
    /// The present one.
    Key,
    /// The one before.
    PreviousKey,
}
