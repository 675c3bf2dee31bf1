//! Key files, in age's manner: text, `#` comments, one line with the secret.
//!
//! ```text
//! # created: 2026-05-01T12:00:00Z
//! # public: spa1…
//! SPA-SECRET-KEY-1…
//! ```

use std::path::{Path, PathBuf};

use spa_proto::{ClientPublic, ClientSecret, ServerPublic, ServerSecret};

use crate::file::{self, FileError};
use crate::text::{SecretText, TextError, TextForm};

/// A secret that has a public half.
pub trait Secret: TextForm<Text = SecretText> {
    /// Its public half.
    type Public: TextForm<Text = String>;

    /// Computes it.
    fn public_half(&self) -> Self::Public;
}

impl Secret for ClientSecret {
    type Public = ClientPublic;

    fn public_half(&self) -> ClientPublic {
        self.public()
    }
}

impl Secret for ServerSecret {
    type Public = ServerPublic;

    fn public_half(&self) -> ServerPublic {
        self.public()
    }
}

/// Why a key file gives no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file itself.
    #[error(transparent)]
    File(#[from] FileError),
    /// What stands in it.
    #[error("{}:{line}: {error}", .path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong with it.
        error: TextError,
    },
    /// Not exactly one line that is neither empty nor a comment.
    #[error("{} holds {found} keys, one is needed", .path.display())]
    Count {
        /// The file.
        path: PathBuf,
        /// Lines that are neither empty nor comments.
        found: usize,
    },
}

impl KeyFileError {
    /// The exit code for it, see [`crate::exit`].
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::File(error) => error.exit_code(),
            Self::Text { .. } | Self::Count { .. } => crate::exit::CONFIG,
        }
    }
}

/// The one line of `text` that is neither empty nor a comment, with its number from 1; else how many there are.
///
/// # Errors
/// How many there are.
pub fn only_line(text: &str) -> Result<(usize, &str), usize> {
    let mut lines =
        (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    match (lines.next(), lines.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(0),
        (Some(_), Some(_)) => Err(2 + lines.count()),
    }
}

/// Reads a key, a psk or any other secret of one line from its file.
///
/// # Errors
/// What is wrong with the file or the text in it.
pub fn read<K: TextForm>(path: &Path) -> Result<K, KeyFileError> {
    read_opened(path, file::open_secret(path)?)
}

/// As [`read`], from a file that [`file::open_secret`] opened.
///
/// # Errors
/// What is wrong with the text in it.
pub fn read_opened<K: TextForm>(path: &Path, opened: std::fs::File) -> Result<K, KeyFileError> {
    let text = file::read_opened(path, opened, file::MAX_SECRET_FILE)?;
    let (line, key) =
        only_line(text.expose()).map_err(|found| KeyFileError::Count { path: path.to_owned(), found })?;
    K::from_text(key).map_err(|error| KeyFileError::Text { path: path.to_owned(), line, error })
}

/// Writes a new key file with mode 0600. Never overwrites.
///
/// # Errors
/// When the file is there already, or the system says no.
pub fn write<K: Secret>(path: &Path, key: &K, created: jiff::Timestamp) -> Result<(), FileError> {
    let secret = key.to_text();
    let public = key.public_half().to_text();
    let mut text = String::with_capacity(512);
    for part in
        ["# created: ", &format!("{created:.0}"), "\n# public: ", &public, "\n", secret.expose(), "\n"]
    {
        text.push_str(part);
    }
    file::write_new(path, SecretText::new(text).expose())
}
