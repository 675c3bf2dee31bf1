//! Configurations of other knockers, read and written as ours: what `spa import` does, without its
//! files.
//!
//! Every directive of a peer's file ends in the result, in a note (nothing is lost: it is so
//! anyway, or the default) or in a warning (it has no equal). Keys are never copied and never
//! shown: a value appears in a remark only when it is none.

mod access;
mod command;
mod draft;
mod fwknopd;
mod fwknoprc;
mod knockd;
mod lines;
mod ports;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use crate::{SecretText, printable};
use draft::Draft;

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

/// Remark about a line that is not simply in the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Line that it is about.
    pub place: SourceLine,
    /// Set when something is lost or changed.
    pub warning: bool,
    /// Sentence, safe for a terminal.
    pub text: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = if self.warning { "warning" } else { "note" };
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
}

/// Remarks being gathered.
#[derive(Debug, Default)]
struct Remarks(Vec<Remark>);

impl Remarks {
    fn warn(&mut self, place: &SourceLine, text: impl fmt::Display) {
        self.push(place, true, &text);
    }

    fn note(&mut self, place: &SourceLine, text: impl fmt::Display) {
        self.push(place, false, &text);
    }

    fn push(&mut self, place: &SourceLine, warning: bool, text: &dyn fmt::Display) {
        // Whatever a remark quotes came from a file.
        let text = printable(&text.to_string()).to_string();
        self.0.push(Remark { place: place.clone(), warning, text });
    }
}

/// Reads a peer's files, all of one installation, and writes ours.
///
/// # Errors
/// The first line that is no line of such a file.
pub fn import(peer: Peer, inputs: &[PeerFile]) -> Result<Imported, ImportError> {
    let mut remarks = Remarks::default();
    let mut draft = Draft::default();
    let mut client = None;
    for input in inputs {
        match (peer, find_role(peer, input)?) {
            (Peer::Knockd, _) => knockd::read_file(input, &mut draft, &mut remarks)?,
            (Peer::Fwknop, FileRole::Daemon) => {
                fwknopd::read_file(input, &mut draft, &mut remarks)?
            }
            (Peer::Fwknop, FileRole::Access) => access::read_file(input, &mut draft, &mut remarks)?,
            (Peer::Fwknop, FileRole::Client) => {
                client
                    .get_or_insert_with(String::new)
                    .push_str(&fwknoprc::read_file(input, &mut remarks)?);
            }
        }
    }
    let server = draft.touched.then(|| draft.write_config(peer, inputs, &mut remarks));
    Ok(Imported { server, client, remarks: remarks.0 })
}

/// Role of a peer's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileRole {
    Daemon,
    Access,
    Client,
}

/// Finds the role of a file by its name, else by its first telling line.
fn find_role(peer: Peer, input: &PeerFile) -> Result<FileRole, ImportError> {
    let name = input.name.rsplit('/').next().unwrap_or_default();
    if peer == Peer::Knockd || name.contains("fwknopd") {
        return Ok(FileRole::Daemon);
    }
    if name.contains("access") {
        return Ok(FileRole::Access);
    }
    if name.contains("fwknoprc") {
        return Ok(FileRole::Client);
    }
    let telling = |line: &str| {
        let word =
            line.split([' ', '\t', ';', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match word.as_str() {
            "SOURCE" | "%INCLUDE" | "%INCLUDE_FOLDER" => Some(FileRole::Access),
            "SPA_SERVER" | "ALLOW_IP" => Some(FileRole::Client),
            _ if line.starts_with('[') => Some(FileRole::Client),
            _ if fwknopd::is_directive(&word) => Some(FileRole::Daemon),
            _ => None,
        }
    };
    input.text.expose().lines().map(str::trim).find_map(telling).ok_or_else(|| ImportError {
        place: SourceLine { file: input.name.clone(), line: 1 },
        text: "neither fwknopd.conf nor access.conf nor .fwknoprc: no line of it says which; name \
            the file as fwknop does"
            .to_owned(),
    })
}
