//! Key files, in age's manner: text, `#` comments, one line with the secret.
//!
//! ```text
//! # created: 2026-05-01T12:00:00Z
//! # public: spa1…
//! SPA-SECRET-KEY-1…
//! ```

use std::path::{Path, PathBuf};

use crate::file::{self, FileError};
use crate::key::kernel_keyring::find_passphrase;
use crate::key::locked::{LockError, LockedKey};
use crate::key::passphrase::{PassphraseError, PassphraseSource};
pub use crate::key::secret::Secret;
use crate::key::split_key::SplitKey;
use crate::text::{Kind, SecretText, TextError, TextForm, kind_of};

/// Reason why a key file gives no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file itself.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line of it cannot be read.
    #[error("{}:{line}: {error}", .path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Reason why the line is refused.
        error: TextError,
    },
    /// Not exactly one line that is neither empty nor a comment.
    #[error("{} holds {found} keys, but must hold exactly one", .path.display())]
    Count {
        /// The file.
        path: PathBuf,
        /// Lines that are neither empty nor comments.
        found: usize,
    },
    /// It is under a passphrase, and was not unlocked.
    #[error("{}: {error}", .path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Reason why it was not unlocked.
        error: LockError,
    },
    /// It is under a passphrase, and there is none.
    #[error("{}: {error}", .path.display())]
    Passphrase {
        /// The file.
        path: PathBuf,
        /// Reason why there is no passphrase.
        error: PassphraseError,
    },
}

impl KeyFileError {
    /// Returns the exit code for it, see [`crate::exit`].
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::File(error) => error.exit_code(),
            Self::Text { .. } | Self::Count { .. } => crate::exit::CONFIG,
            Self::Lock { error: LockError::Passphrase | LockError::Memory(_), .. } => {
                crate::exit::FAILURE
            }
            Self::Lock { .. } => crate::exit::CONFIG,
            Self::Passphrase { error, .. } => error.exit_code(),
        }
    }
}

/// Finds the one line of `text` that is neither empty nor a comment, with its number from 1.
///
/// # Errors
/// The number of such lines, when it is not one.
pub fn only_line(text: &str) -> Result<(usize, &str), usize> {
    let mut lines = (1..)
        .zip(text.lines().map(str::trim))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    match (lines.next(), lines.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(0),
        (Some(_), Some(_)) => Err(2 + lines.count()),
    }
}

/// Reads the locked key of a file; `None` when the file holds something else, or several things.
///
/// # Errors
/// What is wrong with the file or the locked key in it.
pub fn read_locked(path: &Path) -> Result<Option<LockedKey>, KeyFileError> {
    let text = file::read_secret(path)?;
    match only_line(text.expose()) {
        Ok((_, line)) if kind_of(line) == Some(Kind::LockedKey) => LockedKey::from_text(line)
            .map(Some)
            .map_err(|error| KeyFileError::Lock { path: path.to_owned(), error }),
        _ => Ok(None),
    }
}

impl SplitKey {
    /// Reads the split key of a file; `None` when the file holds something else, or several things.
    ///
    /// # Errors
    /// What is wrong with the file or the split key in it.
    pub fn read(path: &Path) -> Result<Option<Self>, KeyFileError> {
        let text = file::read_secret(path)?;
        match only_line(text.expose()) {
            Ok((line, key)) if kind_of(key) == Some(Kind::AgentKey) => Self::from_text(key)
                .map(Some)
                .map_err(|error| KeyFileError::Text { path: path.to_owned(), line, error }),
            _ => Ok(None),
        }
    }
}

/// Reads a key, and asks for the passphrase when it is locked.
///
/// # Errors
/// What is wrong with the file, the text in it or the passphrase.
pub fn read_unlocking<K: Secret>(path: &Path, source: PassphraseSource) -> Result<K, KeyFileError> {
    let Some(locked) = read_locked(path)? else { return read(path) };
    if source == PassphraseSource::Remembered
        && let Some(Ok(key)) = find_passphrase(&locked).map(|passphrase| locked.unlock(&passphrase))
    {
        return Ok(key);
    }
    let passphrase = source
        .ask(&path.display().to_string())
        .map_err(|error| KeyFileError::Passphrase { path: path.to_owned(), error })?;
    locked.unlock(&passphrase).map_err(|error| KeyFileError::Lock { path: path.to_owned(), error })
}

/// Reads a key, with this passphrase when it is locked.
///
/// # Errors
/// What is wrong with the file, the text in it or the passphrase.
pub fn read_with<K: Secret>(path: &Path, passphrase: &SecretText) -> Result<K, KeyFileError> {
    match read_locked(path)? {
        None => read(path),
        Some(locked) => locked
            .unlock(passphrase)
            .map_err(|error| KeyFileError::Lock { path: path.to_owned(), error }),
    }
}

/// Reads the public half of a key file, without the passphrase if it is locked, and without the
/// agent.
///
/// # Errors
/// What is wrong with the file or the text in it.
pub fn read_public_half<K: Secret>(path: &Path) -> Result<K::Public, KeyFileError> {
    if let Some(public) = SplitKey::read(path)?.and_then(|split| K::public_of_split(&split)) {
        return Ok(public);
    }
    match read_locked(path)? {
        None => Ok(read::<K>(path)?.public_half()),
        Some(locked) => locked
            .public::<K>()
            .map_err(|error| KeyFileError::Lock { path: path.to_owned(), error }),
    }
}

/// Replaces the key in its file by another form of it, atomically; comments stay.
///
/// # Errors
/// What is wrong with the file, or what the system said: then the old file is as it was.
pub fn replace_key(path: &Path, key: &SecretText) -> Result<(), KeyFileError> {
    let old = file::read_secret(path)?;
    let (at, _) = only_line(old.expose())
        .map_err(|found| KeyFileError::Count { path: path.to_owned(), found })?;
    // Room for all of it at once: a growing string would leave unwiped copies behind.
    let mut text = String::with_capacity(old.expose().len() + key.expose().len() + 1);
    for (number, line) in (1..).zip(old.expose().lines()) {
        text.push_str(if number == at { key.expose() } else { line });
        text.push('\n');
    }
    Ok(file::replace(path, SecretText::new(text).expose())?)
}

/// Reads a key, a psk or any other secret of one line from its file.
///
/// # Errors
/// What is wrong with the file or the text in it.
pub fn read<K: TextForm>(path: &Path) -> Result<K, KeyFileError> {
    read_opened(path, file::open_secret(path)?)
}

/// Reads a key as [`read`], from a file that [`file::open_secret`] opened.
///
/// # Errors
/// What is wrong with the text in it.
pub fn read_opened<K: TextForm>(path: &Path, opened: std::fs::File) -> Result<K, KeyFileError> {
    let text = file::read_opened(path, opened, file::MAX_SECRET_FILE)?;
    let (line, key) = only_line(text.expose())
        .map_err(|found| KeyFileError::Count { path: path.to_owned(), found })?;
    K::from_text(key).map_err(|error| KeyFileError::Text { path: path.to_owned(), line, error })
}

/// Writes a new key file with mode 0600. Never overwrites.
///
/// # Errors
/// When the file is there already, or the system says no.
pub fn write<K: Secret>(path: &Path, key: &K, created: jiff::Timestamp) -> Result<(), FileError> {
    write_text(path, key, &key.to_text(), created)
}

/// Writes a key file as [`write`](fn@write), for a key whose signing half is in an agent.
///
/// # Errors
/// As [`write`](fn@write).
pub fn write_split(path: &Path, key: &SplitKey, created: jiff::Timestamp) -> Result<(), FileError> {
    let (secret, public) = (key.to_text(), key.public().to_text());
    let mut text = String::with_capacity(1024);
    for part in [
        &format!("# created: {created:.0}\n# agent: {}\n# public: ", key.agent.to_ssh()),
        &public,
        "\n",
        secret.expose(),
        "\n",
    ] {
        text.push_str(part);
    }
    file::write_new(path, SecretText::new(text).expose())
}

/// Writes a key file as [`write`](fn@write), with the key under a passphrase.
///
/// # Errors
/// As [`write`].
pub fn write_locked<K: Secret>(
    path: &Path,
    key: &K,
    locked: &LockedKey,
    created: jiff::Timestamp,
) -> Result<(), FileError> {
    write_text(path, key, &locked.to_text(), created)
}

fn write_text<K: Secret>(
    path: &Path,
    key: &K,
    secret: &SecretText,
    created: jiff::Timestamp,
) -> Result<(), FileError> {
    let public = key.public_half().to_text();
    let mut text = String::with_capacity(1024);
    for part in [
        "# created: ",
        &format!("{created:.0}"),
        "\n# public: ",
        &public,
        "\n",
        secret.expose(),
        "\n",
    ] {
        text.push_str(part);
    }
    file::write_new(path, SecretText::new(text).expose())
}
