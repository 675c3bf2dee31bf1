//! Files that are imported, and what is said about their lines.

use std::fmt;
use std::sync::Arc;

use crate::text::{SecretText, printable};

/// Program whose files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// fwknop 2.6: fwknopd.conf, access.conf and .fwknoprc.
    Fwknop,
    /// knockd 0.8: knockd.conf.
    Knockd,
}

/// File of a peer.
pub struct PeerFile {
    /// Name as the user gave it.
    pub name: Arc<str>,
    /// Content, which may hold keys.
    pub text: SecretText,
}

/// Line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// The file as the user named it.
    pub file: Arc<str>,
    /// Number of the line, from 1.
    pub line: usize,
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", printable(&self.file), self.line)
    }
}

/// Weight of a remark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemarkWeight {
    /// Nothing changes.
    Note,
    /// Something is another way here.
    Warning,
    /// The result opens less than the line did, or more: somebody must write it by hand.
    Lost,
}

/// Remark about a line that is not simply in the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Line that it is about.
    pub place: SourceLine,
    /// Weight of the remark.
    pub weight: RemarkWeight,
    /// Sentence, safe for a terminal.
    pub text: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            RemarkWeight::Note => "note",
            RemarkWeight::Warning => "warning",
            RemarkWeight::Lost => "NOT TAKEN OVER",
        };
        write!(f, "{}: {weight}: {}", self.place, self.text)
    }
}

/// A file that is not what it should be; nothing is made of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {text}")]
pub struct ImportError {
    /// Line that it is about.
    pub place: SourceLine,
    /// Sentence, safe for a terminal.
    pub text: String,
}

/// Result of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// spa-server.toml, when there was a server's file.
    pub server: Option<String>,
    /// `[host.…]` for the client's config.toml, when there was a client's file.
    pub client: Option<String>,
    /// Remarks in the order of their lines.
    pub remarks: Vec<Remark>,
    /// Set when nothing came of the files: no service, or no host.
    pub empty: bool,
}

/// Remarks being gathered.
#[derive(Debug, Default)]
pub(super) struct Remarks(pub(super) Vec<Remark>);

impl Remarks {
    /// Adds a warning.
    pub(super) fn warn(&mut self, place: &SourceLine, text: impl fmt::Display) {
        self.push(place, RemarkWeight::Warning, &text);
    }

    /// Adds what the result has not, or has more of.
    pub(super) fn lose(&mut self, place: &SourceLine, text: impl fmt::Display) {
        self.push(place, RemarkWeight::Lost, &text);
    }

    /// Adds a note.
    pub(super) fn note(&mut self, place: &SourceLine, text: impl fmt::Display) {
        self.push(place, RemarkWeight::Note, &text);
    }

    /// Adds a remark, made safe for a terminal.
    pub(super) fn push(
        &mut self,
        place: &SourceLine,
        weight: RemarkWeight,
        text: &dyn fmt::Display,
    ) {
        // Whatever a remark quotes came from a file.
        let text = printable(&text.to_string()).to_string();
        self.0.push(Remark { place: place.clone(), weight, text });
    }
}
