//! A host whose server changes its key: two lines in its file, the first choice in front, until an
//! answer has come by the new key (docs/protocol.md, section 15). The lines are of one pair and
//! differ in the server's key, and in where its ports hop.

use std::fs::File;
use std::path::Path;

use nix::fcntl::FlockArg;
use spa_proto::ServerKeys;

use crate::enrolment::host_line::{HostLine, Sequence};
use crate::file::{self, FileError, FileLock};
use crate::store::folder::{Folder, FolderError};
use crate::text::SecretText;

/// Computes a host's lines after an answer by one key of the server; `None`: they stay.
///
/// `told`: the keys that the server told because the session came by its previous one.
#[must_use]
pub fn after_answer(
    lines: &[HostLine],
    by: &HostLine,
    told: Option<&ServerKeys>,
) -> Option<Vec<HostLine>> {
    let new = match told {
        None => vec![by.clone()],
        // What could not be believed in is as if nothing had been said.
        Some(keys) if keys.public == by.server || !keys.public.is_usable() => return None,
        Some(keys) => vec![with_keys(by, keys), by.clone()],
    };
    (new != lines).then_some(new)
}

fn with_keys(line: &HostLine, keys: &ServerKeys) -> HostLine {
    let mut line = HostLine { server: keys.public, ..line.clone() };
    if let (Sequence::Hop { key, .. }, Some(told)) = (&mut line.sequence, &keys.hop) {
        key.clone_from(told);
    }
    line
}

/// Tells whether two lines are one enrolment, by two keys of the server.
fn is_one_pair(a: &HostLine, b: &HostLine) -> bool {
    a.server != b.server && (a.client_check, &a.psk, &a.name) == (b.client_check, &b.psk, &b.name)
}

impl Folder {
    /// Reads the lines of a host: the one to knock by, and the other while the server changes its
    /// key.
    ///
    /// # Errors
    /// When there is none, or the file or a line is wrong.
    pub fn read_host_lines(&self, name: &str) -> Result<Vec<HostLine>, FolderError> {
        let path = self.host_file(name)?;
        let text = match file::read_secret(&path) {
            Err(FileError::Missing(_)) => return Err(self.unknown_host(name)),
            other => other?,
        };
        let found = list_secret_lines(text.expose());
        let mut lines = Vec::with_capacity(2);
        for (at, line) in found.iter().take(2) {
            let line = HostLine::from_text(line);
            lines.push(line.map_err(|error| FolderError::Host {
                path: path.clone(),
                line: *at,
                error,
            })?);
        }
        match (found.len(), lines.as_slice()) {
            (1, _) => Ok(lines),
            (2, [a, b]) if is_one_pair(a, b) => Ok(lines),
            (found, _) => Err(FolderError::Count { path, found }),
        }
    }

    /// Writes to the host's file what an answer said, atomically; comments stay. Returns the fresh
    /// lines, `None` when nothing changed, also because the host has another enrolment by now.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn answered(
        &self,
        name: &str,
        by: &HostLine,
        told: Option<&ServerKeys>,
    ) -> Result<Option<Vec<HostLine>>, FolderError> {
        let _lock = self.lock_hosts()?;
        let lines = self.read_host_lines(name)?;
        let same = |line: &&HostLine| {
            (line.server, line.client_check, &line.psk) == (by.server, by.client_check, &by.psk)
        };
        let Some(by) = lines.iter().find(same) else { return Ok(None) };
        let Some(mut fresh) = after_answer(&lines, by, told) else { return Ok(None) };
        // New keys of the client that nobody knows whether the server has were agreed on by one of
        // these keys.
        if self.rotation_file(name).exists() {
            let room = 2usize.saturating_sub(fresh.len());
            fresh.extend(lines.iter().filter(|line| line.server != by.server).take(room).cloned());
            if fresh == lines {
                return Ok(None);
            }
        }
        self.write_lines(name, &fresh)?;
        Ok(Some(fresh))
    }

    /// Replaces the lines in a host's file, atomically; comments stay.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn replace_lines(&self, name: &str, lines: &[HostLine]) -> Result<(), FolderError> {
        let _lock = self.lock_hosts()?;
        self.write_lines(name, lines)
    }

    fn write_lines(&self, name: &str, lines: &[HostLine]) -> Result<(), FolderError> {
        let path = self.host_file(name)?;
        let old = file::read_secret(&path)?;
        Ok(file::replace(&path, rewrite_lines(old.expose(), lines, &path)?.expose())?)
    }

    /// Locks the folder of hosts: no other process changes their files until the lock is dropped.
    ///
    /// # Errors
    /// Error that the system gave.
    pub fn lock_hosts(&self) -> Result<FileLock, FolderError> {
        let path = self.hosts();
        let folder =
            File::open(&path).map_err(|source| FileError::Io { path: path.clone(), source })?;
        Ok(FileLock::of_open(&path, folder, FlockArg::LockExclusive)?)
    }
}

/// Lists the lines that are neither empty nor comments, with their numbers from 1.
fn list_secret_lines(text: &str) -> Vec<(usize, &str)> {
    let lines = (1..).zip(text.lines().map(str::trim));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).collect()
}

/// Returns the text with these lines in the place of the old ones.
fn rewrite_lines(text: &str, lines: &[HostLine], path: &Path) -> Result<SecretText, FolderError> {
    let mut fresh = String::with_capacity(2 * crate::text::MAX_CHARS + text.len());
    for line in lines {
        let line = line.to_text().map_err(|error| FolderError::Host {
            path: path.to_owned(),
            line: 0,
            error,
        })?;
        fresh.push_str(line.expose());
        fresh.push('\n');
    }
    let fresh = SecretText::new(fresh);
    let mut out = String::with_capacity(text.len() + 2 * crate::text::MAX_CHARS);
    let first = list_secret_lines(text).first().map_or(0, |(at, _)| *at);
    for (at, line) in (1..).zip(text.lines()) {
        let plain = line.trim().is_empty() || line.trim().starts_with('#');
        if plain {
            out.push_str(line);
            out.push('\n');
        } else if at == first {
            out.push_str(fresh.expose());
        }
    }
    Ok(SecretText::new(out))
}
