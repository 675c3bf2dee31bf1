//! `rotate` of an access stanza: which keys may take the place of a client's present ones.

use spa_proto::{ClientPublic, KeyKind};

/// Permission to change keys by REKEY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rotation {
    /// None.
    Never,
    /// The same signing key with another X25519 half, and so another psk.
    Refresh,
    /// A signing key of the same kind.
    SameKind,
    /// Whatever key.
    Any,
}

impl Rotation {
    /// The words of the configuration.
    pub const CHOICES: [(&'static str, Self); 4] = [
        ("never", Self::Never),
        ("refresh", Self::Refresh),
        ("same-kind", Self::SameKind),
        ("any", Self::Any),
    ];

    /// The rule of a client whose stanza has none. One touch of a security key must not be enough
    /// to replace it by a key that needs none.
    #[must_use]
    pub fn default_of(kind: KeyKind) -> Self {
        match kind {
            KeyKind::Ed25519 => Self::Any,
            KeyKind::SecurityKey => Self::Refresh,
        }
    }

    /// The word of the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::CHOICES.iter().find(|(_, choice)| *choice == self).map_or("", |(word, _)| word)
    }

    /// Tells whether `new` may take the place of `old`.
    #[must_use]
    pub fn allows(self, old: &ClientPublic, new: &ClientPublic) -> bool {
        match self {
            Self::Never => false,
            Self::Refresh => (old.sign, old.kind) == (new.sign, new.kind),
            Self::SameKind => old.kind == new.kind,
            Self::Any => true,
        }
    }
}
