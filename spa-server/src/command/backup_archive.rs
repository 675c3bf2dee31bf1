//! The file of `spa-server backup`: configuration, keys and clients of one server, and nothing of
//! its replay record.
//!
//! ```text
//! SPA-BACKUP-1 plain          or  SPA-BACKUP-1 sealed, then the box of the plain form in hex
//! made UNIX-MS
//! file ROLE BYTES             then as many bytes, and a line feed; for each file
//! end SHA-256                 in hex, of all lines above
//! ```

use ring::digest::{SHA256, digest};
use spa_keys::{Cost, LockError, SecretText, open_text, seal_text};
use zeroize::Zeroizing;

/// First line of an archive that anybody can read.
const PLAIN_HEAD: &str = "SPA-BACKUP-1 plain\n";
/// First line of an archive under a passphrase.
const SEALED_HEAD: &str = "SPA-BACKUP-1 sealed\n";
/// Label of the box.
const BOX_LABEL: &str = "SPA/1 backup";
/// Most bytes of an archive that is read: the clients' files of a million clients, in hex.
pub(super) const MAX_ARCHIVE_BYTES: u64 = 2 << 30;

/// Part that a file plays for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FileRole {
    /// `spa-server.toml`.
    Config,
    /// `[server] key`.
    Key,
    /// `[server] previous-key`.
    PreviousKey,
    /// `[server] clients`.
    Clients,
    /// Invitations, devices that joined, and rotated keys.
    Enrolled,
}

impl FileRole {
    const ALL_ROLES: [Self; 5] =
        [Self::Config, Self::Key, Self::PreviousKey, Self::Clients, Self::Enrolled];

    /// Returns the word for it in the archive.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Key => "key",
            Self::PreviousKey => "previous-key",
            Self::Clients => "clients",
            Self::Enrolled => "enrolled",
        }
    }

    /// Finds the role of a word.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        Self::ALL_ROLES.into_iter().find(|role| role.word() == word)
    }

    /// Returns what a person calls it.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Config => "configuration",
            Self::Key | Self::PreviousKey => "server key",
            Self::Clients | Self::Enrolled => "clients",
        }
    }
}

/// Content of an archive.
#[derive(Default)]
pub(super) struct Archive {
    /// When it was made, Unix milliseconds.
    pub(super) made_ms: u64,
    /// The files, each at most once.
    pub(super) files: Vec<(FileRole, SecretText)>,
}

/// Reason why an archive is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    /// Something else.
    #[error("it is no backup of spa-server, or one of a newer version")]
    Foreign,
    /// It does not end as it was written.
    #[error("it is cut off or was changed: use another copy; nothing was restored")]
    Damaged,
    /// It is under a passphrase.
    #[error(transparent)]
    Locked(#[from] LockError),
}

impl Archive {
    /// Finds the file of a role.
    pub(super) fn file(&self, role: FileRole) -> Option<&SecretText> {
        self.files.iter().find(|(other, _)| *other == role).map(|(_, text)| text)
    }

    /// Writes the archive, for everybody who can read the file.
    pub(super) fn to_text(&self) -> SecretText {
        let size: usize = self.files.iter().map(|(_, text)| text.expose().len() + 64).sum();
        // All room at once: a growing buffer would leave unwiped copies behind.
        let mut out = Zeroizing::new(String::with_capacity(size + 256));
        out.push_str(PLAIN_HEAD);
        out.push_str(&format!("made {}\n", self.made_ms));
        for (role, text) in &self.files {
            let text = text.expose();
            out.push_str(&format!("file {} {}\n", role.word(), text.len()));
            out.push_str(text);
            out.push('\n');
        }
        let end = hash_text(&out);
        out.push_str(&format!("end {end}\n"));
        SecretText::new(std::mem::take(&mut *out))
    }

    /// Writes the archive under a passphrase.
    ///
    /// # Errors
    /// The passphrase, memory or random bytes.
    pub(super) fn to_sealed_text(&self, passphrase: &SecretText) -> Result<SecretText, LockError> {
        let sealed = seal_text(BOX_LABEL, &self.to_text(), passphrase, Cost::DEFAULT)?;
        Ok(SecretText::new(format!("{SEALED_HEAD}{}\n", format_hex(&sealed))))
    }

    /// Returns true when a passphrase is needed.
    pub(super) fn is_sealed(text: &str) -> bool {
        text.starts_with(SEALED_HEAD)
    }

    /// Reads the sealed form.
    ///
    /// # Errors
    /// The passphrase is wrong, or see [`Archive::from_text`].
    pub(super) fn from_sealed_text(
        text: &str,
        passphrase: &SecretText,
    ) -> Result<Self, ArchiveError> {
        let body = text.strip_prefix(SEALED_HEAD).ok_or(ArchiveError::Foreign)?;
        let body = body.strip_suffix('\n').ok_or(ArchiveError::Damaged)?;
        let sealed = parse_hex(body).ok_or(ArchiveError::Damaged)?;
        Self::from_text(open_text(BOX_LABEL, &sealed, passphrase)?.expose())
    }

    /// Reads the plain form.
    ///
    /// # Errors
    /// It is none, or not as it was written.
    pub(super) fn from_text(text: &str) -> Result<Self, ArchiveError> {
        let rest = text.strip_prefix(PLAIN_HEAD).ok_or(ArchiveError::Foreign)?;
        let damaged = ArchiveError::Damaged;
        // The hash first: whatever stands in a cut or changed archive, none of it is used.
        let (whole, end) =
            text.strip_suffix('\n').and_then(|t| t.rsplit_once('\n')).ok_or(damaged)?;
        let whole = text.get(..=whole.len()).ok_or(ArchiveError::Damaged)?;
        if end.strip_prefix("end ") != Some(&hash_text(whole)) {
            return Err(ArchiveError::Damaged);
        }
        let body = rest.strip_suffix('\n').and_then(|rest| rest.strip_suffix(end));
        read_files(body.ok_or(ArchiveError::Damaged)?).ok_or(ArchiveError::Damaged)
    }
}

/// Reads what stands between the first line and the last one.
fn read_files(body: &str) -> Option<Archive> {
    let (made, mut rest) = body.strip_prefix("made ")?.split_once('\n')?;
    let mut archive = Archive { made_ms: made.parse().ok()?, files: Vec::new() };
    while !rest.is_empty() {
        let (head, behind) = rest.strip_prefix("file ")?.split_once('\n')?;
        let (word, size) = head.split_once(' ')?;
        let role = FileRole::from_word(word).filter(|role| archive.file(*role).is_none())?;
        let (content, behind) = behind.split_at_checked(size.parse().ok()?)?;
        archive.files.push((role, SecretText::new(content.to_owned())));
        rest = behind.strip_prefix('\n')?;
    }
    Some(archive)
}

/// Hashes a text, for a comparison and not as a secret's key.
pub(super) fn hash_text(text: &str) -> String {
    format_hex(digest(&SHA256, text.as_bytes()).as_ref())
}

fn format_hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.extend(
            [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16)).iter().flatten(),
        );
    }
    out
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digit =
        |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn archive() -> Archive {
        let file = |role, text: &str| (role, SecretText::new(text.to_owned()));
        let files = vec![
            file(FileRole::Config, "[server]\nfile key 3\nend 00\n"),
            file(FileRole::Key, ""),
            file(FileRole::Enrolled, "ä, without a line feed"),
        ];
        Archive { made_ms: 1_700_000_000_000, files }
    }

    fn assert_same(read: &Archive) {
        let parts = |archive: &Archive| -> Vec<(FileRole, String)> {
            archive.files.iter().map(|(role, text)| (*role, text.expose().to_owned())).collect()
        };
        assert_eq!((read.made_ms, parts(read)), (archive().made_ms, parts(&archive())));
    }

    #[test]
    fn read_as_written() {
        assert_same(&Archive::from_text(archive().to_text().expose()).unwrap());
        let horse = SecretText::new("horse".to_owned());
        let sealed = archive().to_sealed_text(&horse).unwrap();
        assert!(Archive::is_sealed(sealed.expose()) && !sealed.expose().contains("server"));
        assert_same(&Archive::from_sealed_text(sealed.expose(), &horse).unwrap());
        let cow = SecretText::new("cow".to_owned());
        assert!(Archive::from_sealed_text(sealed.expose(), &cow).is_err());
    }

    #[test]
    fn cut_off_or_changed_anywhere_it_is_refused() {
        let text = archive().to_text();
        let bytes = text.expose().as_bytes();
        for at in 0..bytes.len() {
            if let Ok(cut) = std::str::from_utf8(&bytes[..at]) {
                assert!(Archive::from_text(cut).is_err(), "{at} bytes");
            }
            let mut other = bytes.to_vec();
            other[at] ^= 1;
            let other = String::from_utf8_lossy(&other).into_owned();
            assert!(Archive::from_text(&other).is_err(), "byte {at}");
        }
        for behind in ["\n", "x", "end 00\n"] {
            assert!(Archive::from_text(&format!("{}{behind}", text.expose())).is_err());
        }
    }
}
