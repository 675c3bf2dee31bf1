//! `spa-server backup`: everything that another machine needs to take a server's place.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use spa_keys::file::{self, FileError};
use spa_keys::{Failure, PassphraseSource, SecretText, UnixMillis, note};

use super::backup_archive::{Archive, FileRole, hash_text};
use super::{ConfigArg, output};
use crate::config::clients::enrolled_file;
use crate::config::paths::broker_folder;
use crate::config::{self, CLIENTS_LIMIT, Config, SecretFile, surroundings};
use crate::control::status::BackupState;

/// File in the broker's folder that tells what the last backup held: `made UNIX-MS`, then a line
/// `ROLE SHA-256` for each file.
const RECORD_FILE: &str = "backup";
/// Most bytes of it.
const MAX_RECORD_BYTES: u64 = 4096;
/// Readings until two agree.
const MAX_READINGS: usize = 10;

/// Write configuration, keys and clients to one file
#[derive(Debug, Args)]
#[command(after_help = "The file holds the server's private key: whoever reads it can be this \
        server. It never\nholds the replay record, so nothing recorded opens a server that is \
        restored from it.\n\n\
        Example:\n  spa-server backup --passphrase /root/spa.backup")]
pub(super) struct BackupArgs {
    /// File to write, mode 0600
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    lock: LockArgs,
    /// Overwrite FILE
    #[arg(long)]
    force: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

/// Passphrase of an archive.
#[derive(Debug, Clone, Args)]
struct LockArgs {
    /// Encrypt it with a passphrase, asked for on the terminal
    #[arg(long)]
    passphrase: bool,
    /// Encrypt it with a passphrase, the first line of this file descriptor
    #[arg(long, value_name = "N")]
    passphrase_fd: Option<u32>,
}

impl LockArgs {
    fn source(&self) -> Option<PassphraseSource> {
        let terminal = self.passphrase.then_some(PassphraseSource::Terminal);
        self.passphrase_fd.map(PassphraseSource::Descriptor).or(terminal)
    }
}

impl BackupArgs {
    /// Reads all files of the server, writes the archive and remembers what it held.
    pub(super) fn run(self) -> Result<(), Failure> {
        let loaded = super::enrolment::load_clients(&self.config)?;
        let path = std::path::absolute(&self.file)?;
        if !self.force && path.symlink_metadata().is_ok() {
            return Err(Failure::failed(format!(
                "{} exists already and is left unchanged; to overwrite it: --force",
                path.display()
            )));
        }
        let lock = self.lock.source();
        if lock.is_none() {
            refuse_folder_of_others(&path)?;
        }
        let files = read_settled(&self.config.config, &loaded.config)?;
        let archive = Archive { made_ms: UnixMillis::now().as_millis(), files };
        let text = match lock {
            None => archive.to_text(),
            Some(source) => {
                let passphrase = source.ask_new(&path.display().to_string())?;
                archive.to_sealed_text(&passphrase)?
            }
        };
        if self.force {
            file::replace(&path, text.expose())?;
        } else {
            file::write_new(&path, text.expose())?;
        }
        if let Err(error) = write_record(&loaded.config, &archive) {
            note!("warning: `status` cannot tell when this backup is out of date: {error}");
        }
        self.report(&path, &loaded.config, &archive)
    }

    fn report(&self, path: &Path, config: &Config, archive: &Archive) -> Result<(), Failure> {
        let shown = path.display();
        let sealed = self.lock.source().is_some();
        if archive.file(FileRole::Key).is_none() {
            note!(
                "warning: the server's key is a credential and NOT in this backup: back up the \
                 file that the unit loads it from"
            );
        } else if sealed {
            note!("{shown} holds the server's private key under the passphrase");
        } else {
            note!(
                "warning: {shown} holds the server's PRIVATE KEY and every client's pair key, not \
                 encrypted: whoever reads it can be this server. Move it to a safe place, or make \
                 it with --passphrase"
            );
        }
        if matches!(config.server.clients, SecretFile::Credential(_)) {
            note!("warning: the clients' file is a credential and NOT in this backup");
        }
        note!("to restore it on another machine: spa-server restore {shown}");
        let roles: Vec<&str> = archive.files.iter().map(|(role, _)| role.word()).collect();
        if self.json {
            let answer = json!({
                "version": 1, "file": path, "sealed": sealed, "made-ms": archive.made_ms,
                "contents": roles,
            });
            return output::answer(&format!("{answer}\n"));
        }
        output::answer(&format!("{shown}: {}\n", roles.join(", ")))
    }
}

/// A file that root makes in a user's folder becomes that user's, who may be anybody.
fn refuse_folder_of_others(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let owner = fs::metadata(folder)
        .map_err(|source| FileError::Io { path: folder.to_owned(), source })?
        .uid();
    if owner == 0 || owner == nix::unistd::geteuid().as_raw() {
        return Ok(());
    }
    Err(Failure::permission(format!(
        "{} belongs to user {owner}, who could read the server's private key there: choose a \
         folder of your own, or encrypt it with --passphrase",
        folder.display()
    )))
}

/// Returns the files of a server, where they are.
pub(super) fn list_files(path: &Path, config: &Config) -> Vec<(FileRole, PathBuf)> {
    let server = &config.server;
    let previous = server.previous.as_ref().map(|previous| &previous.file);
    let secret = |role, file: Option<&SecretFile>| match file {
        Some(SecretFile::File(path)) => Some((role, path.clone())),
        _ => None,
    };
    [
        Some((FileRole::Config, path.to_owned())),
        secret(FileRole::Key, Some(&server.key)),
        secret(FileRole::PreviousKey, previous),
        secret(FileRole::Clients, Some(&server.clients)),
        Some((FileRole::Enrolled, enrolled_file(&server.state))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Reads all files until two readings agree: a device may change its keys at this moment, in one
/// file after the other.
fn read_settled(path: &Path, config: &Config) -> Result<Vec<(FileRole, SecretText)>, Failure> {
    let mut last = read_files(path, config)?;
    for _ in 0..MAX_READINGS {
        let again = read_files(path, config)?;
        let same = |((a, one), (b, other)): (&(FileRole, SecretText), &(FileRole, SecretText))| {
            a == b && one.expose() == other.expose()
        };
        if last.len() == again.len() && last.iter().zip(&again).all(same) {
            return Ok(again);
        }
        last = again;
    }
    Err(Failure::failed("the files are being changed all the time: try again"))
}

/// Reads those files that are there; what the configuration cannot do without was read before.
fn read_files(path: &Path, config: &Config) -> Result<Vec<(FileRole, SecretText)>, FileError> {
    let mut files = Vec::new();
    for (role, path) in list_files(path, config) {
        let opened = match role {
            FileRole::Config => file::open_trusted(&path),
            _ => file::open_secret(&path),
        };
        match opened.and_then(|opened| file::read_opened(&path, opened, CLIENTS_LIMIT)) {
            Ok(text) => files.push((role, text)),
            Err(FileError::Missing(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

fn record_path(config: &Config) -> PathBuf {
    broker_folder(&config.server.state).join(RECORD_FILE)
}

fn write_record(config: &Config, archive: &Archive) -> Result<(), FileError> {
    let mut text = format!("made {}\n", archive.made_ms);
    for (role, content) in &archive.files {
        text += &format!("{} {}\n", role.word(), hash_text(content.expose()));
    }
    file::private_folder(&broker_folder(&config.server.state))?;
    file::replace(&record_path(config), &text)
}

/// Compares the files with the last backup; `None`: there was none, or this user may not look.
pub(super) fn compare_with_last(path: &Path) -> Option<BackupState> {
    let config = config::load_alone(path, &surroundings(true)).ok()?;
    let record = file::read_secret_up_to(&record_path(&config), MAX_RECORD_BYTES).ok()?;
    let (made, rest) = record.expose().strip_prefix("made ")?.split_once('\n')?;
    let then: Vec<(FileRole, &str)> = rest
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(word, hash)| Some((FileRole::from_word(word)?, hash)))
        .collect();
    let now = read_files(path, &config).ok()?;
    let now: Vec<(FileRole, String)> =
        now.iter().map(|(role, text)| (*role, hash_text(text.expose()))).collect();
    let is_same = |role: FileRole| {
        let then = then.iter().find(|(other, _)| *other == role).map(|(_, hash)| *hash);
        then == now.iter().find(|(other, _)| *other == role).map(|(_, hash)| hash.as_str())
    };
    let roles = then.iter().map(|(role, _)| *role).chain(now.iter().map(|(role, _)| *role));
    let mut changed: Vec<String> =
        roles.filter(|role| !is_same(*role)).map(|role| role.noun().to_owned()).collect();
    changed.sort_unstable();
    changed.dedup();
    Some(BackupState { made_ms: made.parse().ok()?, changed })
}
