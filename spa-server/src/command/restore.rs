//! `spa-server restore`: a server's place taken from its backup.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::tz::TimeZone;
use serde_json::json;
use spa_keys::file::{self, FileError};
use spa_keys::{Failure, PassphraseSource, SecretText, note};

use super::backup::list_files;
use super::backup_archive::{Archive, ArchiveError, FileRole, MAX_ARCHIVE_BYTES};
use super::{ConfigArg, DEFAULT_CONFIG, output};
use crate::config::{self, CLIENTS_LIMIT, Config, SecretFile, server_key, surroundings};
use crate::control::client::Connection;
use crate::domain::dates;
use crate::listener::forget_past;

/// Take the place of a server from its backup
#[derive(Debug, Args)]
#[command(
    after_help = "Stop the server first, and never run two servers with one key. Knocks made \
        before the\nnext start, and for a minute after it, are refused; clients wait by \
        themselves.\nInterrupted at any moment, run it again.\n\n\
        Example:\n  spa-server restore /root/spa.backup"
)]
pub(super) struct RestoreArgs {
    /// File that `spa-server backup` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Read the passphrase from the first line of this file descriptor [default: the terminal]
    #[arg(long, value_name = "N")]
    passphrase_fd: Option<u32>,
    /// Overwrite what is there and is not the same
    #[arg(long)]
    force: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

/// A file to write, or with `None` one to remove, because the backup has none in its place.
struct FileChange<'a> {
    path: PathBuf,
    content: Option<&'a SecretText>,
    exists: bool,
}

impl RestoreArgs {
    /// Writes the files of the archive, the configuration last: without it no server starts.
    pub(super) fn run(self) -> Result<(), Failure> {
        let archive = self.read_archive()?;
        let path = std::path::absolute(&self.config.config)?;
        let shown = self.file.display();
        let text = archive.file(FileRole::Config).ok_or_else(|| {
            Failure::failed(format!("{shown}: it holds no configuration; nothing was restored"))
        })?;
        let config = config::load_alone_text(&path, text.expose().as_bytes(), &surroundings(true))
            .map_err(|findings| Failure::config(findings.to_string()))?;
        refuse_beside_a_server(&config)?;
        let changes = plan_changes(&path, &config, &archive);
        if !self.force {
            refuse_to_overwrite(&changes)?;
        }
        let is_key =
            |change: &&FileChange<'_>| config.server.key == SecretFile::File(change.path.clone());
        for change in changes.iter().filter(is_key) {
            change.apply()?;
        }
        // Before any client is known here again: whatever this machine has kept of this server's
        // past, knocks that were taken elsewhere are not in it.
        let server = server_key(&config.server.key, &surroundings(false)).ok();
        forget_past(&config.server.state, server.map(|secret| secret.public()).as_ref())?;
        for change in changes.iter().filter(|change| !is_key(change)).rev() {
            change.apply()?;
        }
        self.report(&archive, &changes)
    }

    fn read_archive(&self) -> Result<Archive, Failure> {
        let opened = file::open_secret(&self.file)?;
        let text = file::read_opened(&self.file, opened, MAX_ARCHIVE_BYTES)?;
        let read = if Archive::is_sealed(text.expose()) {
            let source = self.passphrase_fd.map(PassphraseSource::Descriptor);
            let source = source.unwrap_or(PassphraseSource::Terminal);
            let passphrase = source.ask(&self.file.display().to_string())?;
            Archive::from_sealed_text(text.expose(), &passphrase)
        } else {
            Archive::from_text(text.expose())
        };
        read.map_err(|error| {
            let problem = format!("{}: {error}", self.file.display());
            match error {
                ArchiveError::Foreign | ArchiveError::Damaged => Failure::config(problem),
                ArchiveError::Locked(_) => Failure::failed(problem),
            }
        })
    }

    fn report(&self, archive: &Archive, changes: &[FileChange<'_>]) -> Result<(), Failure> {
        let made = dates::local(archive.made_ms, &TimeZone::system());
        let of_config = match self.config.config.as_path() {
            path if path == Path::new(DEFAULT_CONFIG) => String::new(),
            path => format!(" --config {}", path.display()),
        };
        if archive.file(FileRole::Key).is_none() {
            note!(
                "warning: the server's key is a credential that the backup does not hold: put it \
                 where the unit loads it from"
            );
        }
        note!("never run the server that this was made from beside this one");
        note!(
            "after the next start knocks are refused for about a minute, and services are hidden \
             as after a first start"
        );
        note!(
            "clients are as on {made}: who was removed since is back, and who has newer keys \
             hears nothing, until: spa-server client remove NAME{of_config}; spa-server invite \
             NAME{of_config}"
        );
        note!("next: spa-server check{of_config}; systemctl start spa-server");
        let paths: Vec<String> =
            changes.iter().map(|change| change.path.display().to_string()).collect();
        if self.json {
            let answer = json!({ "version": 1, "made-ms": archive.made_ms, "written": paths });
            return output::answer(&format!("{answer}\n"));
        }
        let paths = if paths.is_empty() { "all was there".to_owned() } else { paths.join("\n") };
        output::answer(&format!("{paths}\n"))
    }
}

/// Lists what is not yet as in the archive, in its order.
fn plan_changes<'a>(path: &Path, config: &Config, archive: &'a Archive) -> Vec<FileChange<'a>> {
    let mut changes = Vec::new();
    for (role, path) in list_files(path, config) {
        let content = archive.file(role);
        let exists = path.symlink_metadata().is_ok();
        let is_there = match content {
            None => !exists,
            Some(content) => read_present(&path, role)
                .is_some_and(|present| present.expose() == content.expose()),
        };
        if !is_there {
            changes.push(FileChange { path, content, exists });
        }
    }
    changes
}

/// Reads what is there; `None`: it cannot be read, so it is not the same.
fn read_present(path: &Path, role: FileRole) -> Option<SecretText> {
    let opened = match role {
        FileRole::Config => file::open_trusted(path),
        _ => file::open_secret(path),
    };
    opened.and_then(|opened| file::read_opened(path, opened, CLIENTS_LIMIT)).ok()
}

impl FileChange<'_> {
    fn apply(&self) -> Result<(), FileError> {
        let Some(content) = self.content else { return file::remove(&self.path) };
        if let Some(folder) = self.path.parent() {
            file::private_folder(folder)?;
        }
        if self.exists {
            file::replace(&self.path, content.expose())
        } else {
            file::write_new(&self.path, content.expose())
        }
    }
}

fn refuse_to_overwrite(changes: &[FileChange<'_>]) -> Result<(), Failure> {
    let there: Vec<String> = changes
        .iter()
        .filter(|change| change.exists)
        .map(|change| change.path.display().to_string())
        .collect();
    if there.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "another one is there, and nothing was restored: {}; to overwrite or remove what differs \
         from the backup: --force",
        there.join(", ")
    )))
}

fn refuse_beside_a_server(config: &Config) -> Result<(), Failure> {
    match Connection::connect(&config.server.control)? {
        None => Ok(()),
        Some(_) => Err(Failure::failed("a server is running here")
            .remedy_after("stop it first", "systemctl stop spa-server")),
    }
}
