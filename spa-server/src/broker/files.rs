//! The files that decide about everything: opened by the broker in one place (`spa_keys::file`, which looks at owner, mode,
//! links and size), read by the listener, which can open none.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::memfd::{MFdFlags, memfd_create};
use spa_keys::Failure;
use spa_keys::file::{self, FileError};

use super::channel::Channel;
use super::message::{Clients, Order};
use crate::config::{self, Config, Surroundings};
use crate::daemon::{open_key, surroundings};

/// What the broker opened.
pub(super) struct Opened {
    /// The broker's own reading of the configuration.
    pub(super) config: Config,
    /// The very bytes of that reading: the file may change before the listener reads.
    text: OwnedFd,
    key: File,
    clients: Clients,
    clients_file: Option<File>,
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
        let key = open_key(&config.server.key, &around)?;
        let (clients, clients_file) = clients(&config, &around);
        Ok(Self { text: memory(&bytes)?, config, key, clients, clients_file })
    }

    /// Hands them to the listener.
    pub(super) fn send(&self, channel: &Channel, config: u64, askers: Vec<u64>) -> io::Result<()> {
        let mut files: Vec<BorrowedFd<'_>> = vec![self.text.as_fd(), self.key.as_fd()];
        files.extend(self.clients_file.as_ref().map(AsFd::as_fd));
        channel.send_now(&Order::Read { config, clients: self.clients.clone(), askers }, &files)
    }
}

fn clients(config: &Config, around: &Surroundings<'_>) -> (Clients, Option<File>) {
    let Some(path) = config.server.clients.path(around.credentials.as_deref()) else {
        return (Clients::Nowhere, None);
    };
    match file::open_secret(&path) {
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
}

impl Received {
    /// From the parts of [`Order::Read`]; `None` when a file is missing.
    #[must_use]
    pub fn new(number: u64, path: &Path, clients: Clients, files: Vec<OwnedFd>) -> Option<Self> {
        let mut files = files.into_iter().map(File::from);
        let (text, key) = (files.next()?, files.next()?);
        let clients = match clients {
            Clients::Opened => Ok(files.next()?),
            Clients::Missing | Clients::Nowhere => Err(io::ErrorKind::NotFound.into()),
            Clients::Refused(text) => Err(io::Error::other(text)),
        };
        Some(Self { number, path: path.to_owned(), text, key, clients })
    }
}
