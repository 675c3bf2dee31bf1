//! The files of a configuration, as the broker hands them over.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::ipc::message::Clients;

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
    /// The server's key from before, while it lives.
    pub previous: Option<File>,
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
        (previous, clients, enrolled): (bool, Clients, Clients),
        files: Vec<OwnedFd>,
    ) -> Option<Self> {
        let mut files = files.into_iter().map(File::from);
        let (text, key) = (files.next()?, files.next()?);
        let previous = if previous { Some(files.next()?) } else { None };
        let mut found = |how| match how {
            Clients::Opened => files.next().map(Ok),
            Clients::Missing | Clients::Nowhere => Some(Err(io::ErrorKind::NotFound.into())),
            Clients::Refused(text) => Some(Err(io::Error::other(text))),
        };
        let (clients, enrolled) = (found(clients)?, found(enrolled)?);
        Some(Self { number, path: path.to_owned(), text, key, previous, clients, enrolled })
    }
}
