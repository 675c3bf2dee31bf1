//! The text form of every key: Bech32m (BIP 350), public keys in small letters, secrets in
//! capitals.

use std::fmt;

use bech32::primitives::decode::{
    CharError, CheckedHrpstring, CheckedHrpstringError, UncheckedHrpstringError,
};
use bech32::primitives::iter::{ByteIterExt, Fe32IterExt};
use bech32::{Bech32m, Hrp};
use spa_proto::{ClientPublic, ClientSecret, KeyKind, Psk, ServerPublic, ServerSecret};
use zeroize::Zeroizing;

/// The longest text that Bech32m's checksum protects, in characters (BIP 350's code length).
pub(crate) const MAX_CHARS: usize = 1023;
const CHECKSUM_CHARS: usize = 6;

/// Kind of a text, told by its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `spa1…`: Ed25519 then X25519, 64 bytes.
    ClientPublic,
    /// `spask1…`: the same 64 bytes; the Ed25519 half is in a FIDO2 security key with the
    /// application `ssh:`.
    SecurityKeyPublic,
    /// `spaserver1…`: X25519, 32 bytes.
    ServerPublic,
    /// `SPA-SECRET-KEY-1…`: the client's seed, 32 bytes.
    ClientSecret,
    /// `SPA-LOCKED-KEY-1…`: a secret key under a passphrase, see [`crate::LockedKey`].
    LockedKey,
    /// `SPA-AGENT-KEY-1…`: a client's key whose signing half is in an ssh-agent, see
    /// [`crate::SplitKey`].
    AgentKey,
    /// `SPA-SERVER-KEY-1…`: the server's X25519 secret, 32 bytes.
    ServerSecret,
    /// `SPA-PSK-1…`: pre-shared key of a pair, 32 bytes.
    Psk,
    /// `SPA-HOST-1…`: an enrolment line, see [`crate::HostLine`]; it holds a pre-shared key.
    Host,
    /// `SPA-INVITATION-1…`: see [`crate::Invitation`]; whoever has it can enrol, once.
    Invitation,
}

impl Kind {
    /// Every kind that has a text form.
    pub(super) const ALL_KINDS: [Self; 10] = [
        Self::ClientPublic,
        Self::SecurityKeyPublic,
        Self::ServerPublic,
        Self::ClientSecret,
        Self::LockedKey,
        Self::AgentKey,
        Self::ServerSecret,
        Self::Psk,
        Self::Host,
        Self::Invitation,
    ];

    /// Returns the prefix of its texts, up to and with the separator `1`.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::ClientPublic => "spa1",
            Self::SecurityKeyPublic => "spask1",
            Self::ServerPublic => "spaserver1",
            Self::ClientSecret => "SPA-SECRET-KEY-1",
            Self::LockedKey => "SPA-LOCKED-KEY-1",
            Self::AgentKey => "SPA-AGENT-KEY-1",
            Self::ServerSecret => "SPA-SERVER-KEY-1",
            Self::Psk => "SPA-PSK-1",
            Self::Host => "SPA-HOST-1",
            Self::Invitation => "SPA-INVITATION-1",
        }
    }

    /// Tells whether its texts must be kept secret; these are written in capitals.
    #[must_use]
    pub fn is_secret(self) -> bool {
        !matches!(self, Self::ClientPublic | Self::SecurityKeyPublic | Self::ServerPublic)
    }

    /// Returns the number of bytes inside; `None` where that varies.
    fn len(self) -> Option<usize> {
        match self {
            Self::ClientPublic | Self::SecurityKeyPublic => Some(64),
            Self::AgentKey => Some(65),
            Self::Host | Self::Invitation | Self::LockedKey => None,
            _ => Some(32),
        }
    }

    fn hrp(self) -> Hrp {
        let prefix = self.prefix();
        Hrp::parse_unchecked(prefix.get(..prefix.len() - 1).unwrap_or(prefix))
    }

    fn text_len(self, bytes: usize) -> usize {
        self.prefix().len() + (bytes * 8).div_ceil(5) + CHECKSUM_CHARS
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientPublic => "a client's public key",
            Self::SecurityKeyPublic => "a client's public key with a security key",
            Self::ServerPublic => "a server's public key",
            Self::ClientSecret => "a client's secret key",
            Self::LockedKey => "a secret key under a passphrase",
            Self::AgentKey => "a client's key whose signing half is in an ssh-agent",
            Self::ServerSecret => "a server's secret key",
            Self::Psk => "a pre-shared key",
            Self::Host => "an enrolment line",
            Self::Invitation => "an invitation",
        })
    }
}

/// Tells what a text claims to be, by its prefix alone, in whatever case. The rest may be wrong.
#[must_use]
pub fn kind_of(text: &str) -> Option<Kind> {
    let text = text.trim();
    Kind::ALL_KINDS.into_iter().find(|kind| {
        let prefix = kind.prefix();
        text.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
    })
}

/// Reason why a text is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// Does not begin as any of ours.
    #[error("this is not an SPA text: {wanted} begins with {}", .wanted.prefix())]
    Unknown {
        /// Kind that was asked for.
        wanted: Kind,
    },
    /// One of ours, but another one.
    #[error("this is {found}, not {wanted}: that begins with {}", .wanted.prefix())]
    Other {
        /// Kind that was asked for.
        wanted: Kind,
        /// Kind of the text.
        found: Kind,
    },
    /// Capital and small letters mixed.
    #[error("capital and small letters are mixed: {kind} is written in {} only", case_of(*.kind))]
    MixedCase {
        /// Kind of the text.
        kind: Kind,
    },
    /// All letters in the other case.
    #[error("the letters have the wrong case: {kind} is written in {} only", case_of(*.kind))]
    Case {
        /// Kind of the text.
        kind: Kind,
    },
    /// A character that Bech32 does not use (it leaves out 1, b, i and o, which are easy to
    /// mistake).
    #[error(
        "the character {0:?} does not belong here: it is mistyped or something was pasted with it"
    )]
    Character(char),
    /// Too many or too few characters.
    #[error(
        "{kind} has {expected} characters, this has {found}: it was not copied completely, or \
        something else was copied with it"
    )]
    Length {
        /// Kind of the text.
        kind: Kind,
        /// Characters that belong there.
        expected: usize,
        /// Characters that are there.
        found: usize,
    },
    /// The checksum is wrong.
    #[error("the checksum does not match: at least one character is wrong or missing")]
    Checksum,
    /// Longer than the checksum protects.
    #[error("{0} characters are more than the {MAX_CHARS} that the checksum protects")]
    TooLong(usize),
    /// The unused last bits are not zero: some other program wrote it.
    #[error("the last character holds bits that do not belong to the key")]
    Padding,
}

fn case_of(kind: Kind) -> &'static str {
    if kind.is_secret() { "capitals" } else { "small letters" }
}

/// A text that holds a secret: wiped on drop, and without `Debug` or `Display`, so that no log gets
/// it by accident.
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes ownership of the text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Returns the text. The caller is responsible for where it goes.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A key with a text form.
pub trait TextForm: Sized {
    /// Kind of the text.
    const KIND: Kind;
    /// Type of the text: `String` for public keys, [`SecretText`] for secrets.
    type Text;

    /// Returns the text.
    fn to_text(&self) -> Self::Text;

    /// Reads the key in a text; white space around it is ignored.
    ///
    /// # Errors
    /// [`TextError`].
    fn from_text(text: &str) -> Result<Self, TextError>;
}

macro_rules! text_form {
    (
        $type:ty, $kind:ident, $n:literal, $text:ty,
        $key:ident => $bytes:expr, $from:expr, $wrap:expr
    ) => {
        impl TextForm for $type {
            const KIND: Kind = Kind::$kind;
            type Text = $text;

            fn to_text(&self) -> $text {
                let $key = self;
                $wrap(encode_text(Kind::$kind, &$bytes[..]))
            }

            fn from_text(text: &str) -> Result<Self, TextError> {
                let bytes = decode_text(Kind::$kind, text)?;
                let fixed: Zeroizing<[u8; $n]> =
                    Zeroizing::new(bytes.as_slice().try_into().map_err(|_| TextError::Checksum)?);
                Ok($from(*fixed))
            }
        }
    };
}

fn expose_public(text: SecretText) -> String {
    text.expose().to_owned()
}

impl TextForm for ClientPublic {
    const KIND: Kind = Kind::ClientPublic;
    type Text = String;

    /// `spa1…`, or `spask1…` when a security key signs.
    fn to_text(&self) -> String {
        let kind = match self.kind {
            KeyKind::Ed25519 => Kind::ClientPublic,
            KeyKind::SecurityKey => Kind::SecurityKeyPublic,
        };
        expose_public(encode_text(kind, &self.to_bytes()))
    }

    fn from_text(text: &str) -> Result<Self, TextError> {
        let (kind, form) = match kind_of(text) {
            Some(Kind::SecurityKeyPublic) => (KeyKind::SecurityKey, Kind::SecurityKeyPublic),
            _ => (KeyKind::Ed25519, Kind::ClientPublic),
        };
        let bytes = decode_text(form, text)?;
        let fixed: [u8; 64] = bytes.as_slice().try_into().map_err(|_| TextError::Checksum)?;
        Ok(Self::from_bytes(&fixed).with_kind(kind))
    }
}

text_form!(ServerPublic, ServerPublic, 32, String, key => key.0, Self, expose_public);
text_form!(
    ClientSecret, ClientSecret, 32, SecretText,
    key => key.to_bytes(), Self::from_bytes, |text| text
);
text_form!(
    ServerSecret, ServerSecret, 32, SecretText,
    key => key.to_bytes(), Self::from_bytes, |text| text
);
text_form!(Psk, Psk, 32, SecretText, key => key.to_bytes(), Self::from_bytes, |text| text);

/// Encodes bytes in Bech32m. The caller keeps within [`MAX_CHARS`].
pub(crate) fn encode_text(kind: Kind, bytes: &[u8]) -> SecretText {
    // Room for all of it at once: a growing string would leave unwiped copies behind.
    let mut text = Zeroizing::new(String::with_capacity(kind.text_len(bytes.len())));
    let hrp = kind.hrp();
    let chars = bytes.iter().copied().bytes_to_fes().with_checksum::<Bech32m>(&hrp).chars();
    text.extend(chars.map(|c| if kind.is_secret() { c.to_ascii_uppercase() } else { c }));
    SecretText(text)
}

/// Counts the characters of the text that `bytes` bytes make.
pub(crate) fn text_chars(kind: Kind, bytes: usize) -> usize {
    kind.text_len(bytes)
}

/// Decodes the bytes in a text of the wanted kind. Accepts exactly what [`encode_text`] makes.
pub(crate) fn decode_text(wanted: Kind, text: &str) -> Result<Zeroizing<Vec<u8>>, TextError> {
    let text = text.trim();
    match kind_of(text) {
        Some(found) if found == wanted => {}
        Some(found) => return Err(TextError::Other { wanted, found }),
        None => return Err(TextError::Unknown { wanted }),
    }
    let found = text.chars().count();
    if let Some(expected) = wanted.len().map(|bytes| wanted.text_len(bytes))
        && expected != found
    {
        return Err(TextError::Length { kind: wanted, expected, found });
    }
    if found > MAX_CHARS {
        return Err(TextError::TooLong(found));
    }
    // A `1` in the data would move the separator, and the message would be about the wrong thing.
    if text.get(wanted.prefix().len()..).is_some_and(|data| data.contains('1')) {
        return Err(TextError::Character('1'));
    }
    let checked =
        CheckedHrpstring::new::<Bech32m>(text).map_err(|error| explain_refusal(wanted, &error))?;
    if wanted.is_secret() == text.contains(|c: char| c.is_ascii_lowercase()) {
        return Err(TextError::Case { kind: wanted });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(found));
    bytes.extend(checked.byte_iter());
    if encode_text(wanted, &bytes).expose() == text { Ok(bytes) } else { Err(TextError::Padding) }
}

fn explain_refusal(kind: Kind, error: &CheckedHrpstringError) -> TextError {
    match error {
        CheckedHrpstringError::Parse(UncheckedHrpstringError::Char(CharError::MixedCase)) => {
            TextError::MixedCase { kind }
        }
        CheckedHrpstringError::Parse(UncheckedHrpstringError::Char(CharError::InvalidChar(c))) => {
            TextError::Character(*c)
        }
        _ => TextError::Checksum,
    }
}
