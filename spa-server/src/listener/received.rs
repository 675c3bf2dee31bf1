//! The files of a configuration, as the broker hands them over.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::ipc::message::{ReadFiles, SentFile};

/// Files of one configuration.
pub struct ReceivedFiles {
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
    /// File of what devices have brought about, `NotFound` when there is nothing.
    pub enrolled: io::Result<File>,
}

impl ReceivedFiles {
    /// Files of a message; `None` when one is missing. `path` is that of the configuration.
    #[must_use]
    pub fn new(path: &Path, order: &ReadFiles, files: Vec<OwnedFd>) -> Option<Self> {
        let mut files = files.into_iter().map(File::from);
        let (text, key) = (files.next()?, files.next()?);
        let previous = if order.previous { Some(files.next()?) } else { None };
        let mut found = |how: &SentFile| match how {
            SentFile::Attached => files.next().map(Ok),
            SentFile::Missing | SentFile::Nowhere => Some(Err(io::ErrorKind::NotFound.into())),
            SentFile::Refused(text) => Some(Err(io::Error::other(text.clone()))),
        };
        let (clients, enrolled) = (found(&order.clients)?, found(&order.enrolled)?);
        Some(Self { path: path.to_owned(), text, key, previous, clients, enrolled })
    }
}
