//! The files that decide about everything: opened by the broker in one place (`spa_keys::file`, which looks at owner, mode,
//! links and size), read by the listener, which can open none.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::memfd::{MFdFlags, memfd_create};
use spa_keys::file::{self, FileError};
use spa_keys::{Failure, key_file};
use spa_proto::{ServerPublic, ServerSecret};

use super::channel::Channel;
use super::message::{Clients, Order};
use crate::config::clients::enrolled_file;
use crate::config::{self, Config, Surroundings};
use crate::daemon::{key_failure, open_key, surroundings};

/// What the broker opened.
pub(super) struct Opened {
    /// The broker's own reading of the configuration.
    pub(super) config: Config,
    /// The very bytes of that reading: the file may change before the listener reads.
    text: OwnedFd,
    key: File,
    clients: Clients,
    clients_file: Option<File>,
    enrolled: Clients,
    enrolled_file: Option<File>,
    /// The server's public key, which tells whose requests are ours.
    pub(super) server: ServerPublic,
}

impl Opened {
    /// Opens what a configuration names, and reads the configuration alone: key and clients are never in this process's
    /// memory.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let around = surroundings(false);
        let broken = |findings: config::Findings| Failure::config(findings.to_string());
        let bytes = config::bytes_of(path).map_err(broken)?;
        let config = match config::load_alone_text(path, &bytes, &around) {
            Ok(config) => config,
            // With the clients' findings, so that everything can be mended at once.
            Err(findings) => {
                let all = config::load_text(path, &bytes, &around);
                return Err(broken(all.err().unwrap_or(findings)));
            }
        };
        let mut key = open_key(&config.server.key, &around)?;
        let server = public_half(&config, &mut key, &around)?;
        let path = config.server.clients.path(around.credentials.as_deref());
        let (clients, clients_file) = path.map_or((Clients::Nowhere, None), |path| secret(&path));
        let (enrolled, enrolled_file) = secret(&enrolled_file(&config.server.state));
        let text = memory(&bytes)?;
        Ok(Self { text, config, key, clients, clients_file, enrolled, enrolled_file, server })
    }

    /// Hands them to the listener.
    pub(super) fn send(&self, channel: &Channel, config: u64, askers: Vec<u64>) -> io::Result<()> {
        let mut files: Vec<BorrowedFd<'_>> = vec![self.text.as_fd(), self.key.as_fd()];
        files.extend(self.clients_file.iter().chain(&self.enrolled_file).map(AsFd::as_fd));
        let (clients, enrolled) = (self.clients.clone(), self.enrolled.clone());
        channel.send_now(&Order::Read { config, clients, enrolled, askers }, &files)
    }
}

/// The public half of the server's key. The secret one is here for the moment that it takes to compute it, before any
/// request has come, and wiped.
fn public_half(config: &Config, key: &mut File, around: &Surroundings<'_>) -> Result<ServerPublic, Failure> {
    let path = config.server.key.path(around.credentials.as_deref()).unwrap_or_default();
    let secret: ServerSecret =
        key_file::read_opened(&path, key.try_clone()?).map_err(|error| key_failure(&path, &error))?;
    io::Seek::rewind(key)?;
    Ok(secret.public())
}

fn secret(path: &Path) -> (Clients, Option<File>) {
    match file::open_secret(path) {
        Ok(file) => (Clients::Opened, Some(file)),
        Err(FileError::Missing(_)) => (Clients::Missing, None),
        Err(error) => (Clients::Refused(error.to_string()), None),
    }
}

/// A file without a name that begins with these bytes.
fn memory(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("spa-server.toml", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    io::Seek::rewind(&mut file)?;
    Ok(file.into())
}

/// What the listener received.
pub struct Received {
    /// Number of the configuration.
    pub number: u64,
    /// Where the configuration stands, for findings.
    pub path: PathBuf,
    /// The configuration.
    pub text: File,
    /// The server's key.
    pub key: File,
    /// The clients, `NotFound` when there are none.
    pub clients: io::Result<File>,
    /// What devices have brought about, `NotFound` when there is nothing.
    pub enrolled: io::Result<File>,
}

impl Received {
    /// From the parts of [`Order::Read`]; `None` when a file is missing.
    #[must_use]
    pub fn new(
        number: u64,
        path: &Path,
        (clients, enrolled): (Clients, Clients),
        files: Vec<OwnedFd>,
    ) -> Option<Self> {
        let mut files = files.into_iter().map(File::from);
        let (text, key) = (files.next()?, files.next()?);
        let mut found = |how| match how {
            Clients::Opened => files.next().map(Ok),
            Clients::Missing | Clients::Nowhere => Some(Err(io::ErrorKind::NotFound.into())),
            Clients::Refused(text) => Some(Err(io::Error::other(text))),
        };
        let (clients, enrolled) = (found(clients)?, found(enrolled)?);
        Some(Self { number, path: path.to_owned(), text, key, clients, enrolled })
    }
}
