//! The files that decide about everything: opened by the broker in one place (`spa_keys::file`,
//! which looks at owner, mode, links and size), read by the listener, which can open none.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use spa_keys::file::{self, FileError};
use spa_keys::{Failure, key_file};
use spa_proto::{ServerPublic, ServerSecret};

use super::client_terms::{ClientTerms, TermsSource};
use crate::config::clients::enrolled_file;
use crate::config::{self, Config, SecretFile, Surroundings};
use crate::config::{
    CLIENTS_LIMIT, key_failure, open_followed, open_key, open_previous, read_previous, surroundings,
};
use crate::ipc::channel::Channel;
use crate::ipc::message::{ListenerOrder, Purpose, ReadFiles, SentFile};

/// Longest key file that is copied, bytes; a longer one is refused by its reader.
const MAX_KEY_FILE_BYTES: u64 = file::MAX_SECRET_FILE + 1;

/// Files that the broker opened: copies that nobody can change, so that what runs can be had
/// again after somebody wrote the files.
pub(super) struct ConfigFiles {
    /// The broker's own reading of the configuration.
    pub(super) config: Config,
    /// The very bytes of that reading.
    text: File,
    key: File,
    previous: Option<File>,
    clients: SentFile,
    clients_file: Option<File>,
    enrolled: SentFile,
    enrolled_file: Option<File>,
    /// The server's public keys, which tell whose requests are ours: the present one, and the one
    /// before while it lives.
    pub(super) servers: Vec<ServerPublic>,
    /// Grants that the clients may have; read when the listener reads.
    pub(super) terms: ClientTerms,
}

/// Copies a file of clients; one that is too long is refused before half of it fills the memory.
fn copy_file(file: File, path: &Path) -> Result<File, Failure> {
    if file.metadata()?.len() > CLIENTS_LIMIT {
        return Err(FileError::Large { path: path.to_owned(), limit: CLIENTS_LIMIT }.into());
    }
    Ok(copy_to_memory(file.take(CLIENTS_LIMIT + 1))?)
}

impl ConfigFiles {
    /// Opens what a configuration names, and reads the configuration alone: of key and clients the
    /// kernel makes the copies, and `terms` reads the clients' beside the work.
    pub(super) fn open_named(path: &Path) -> Result<Self, Failure> {
        let bytes =
            config::bytes_of(path).map_err(|findings| Failure::config(findings.to_string()))?;
        Self::of_text(path, &bytes, None)
    }

    /// The same from an open configuration, and from open clients in place of those that it names.
    /// `path`: for findings.
    pub(super) fn from_copies(
        path: &Path,
        text: File,
        clients: Option<File>,
    ) -> Result<Self, Failure> {
        Self::of_text(path, &file::read_opened_bytes(path, text, u64::MAX - 1)?, clients)
    }

    fn of_text(path: &Path, bytes: &[u8], opened: Option<File>) -> Result<Self, Failure> {
        let around = surroundings(false);
        let broken = |findings: config::Findings| Failure::config(findings.to_string());
        let config = match config::load_alone_text(path, bytes, &around) {
            Ok(config) => config,
            // With the clients' findings, so that everything can be mended at once.
            Err(findings) => {
                let all = config::load_text(path, bytes, &around);
                return Err(broken(all.err().unwrap_or(findings)));
            }
        };
        let disk = config::check_disk(path, &config);
        if disk.has_errors() {
            return Err(broken(disk));
        }
        let mut key = open_key(&config.server.key, &around)?;
        let mut servers = vec![public_half(&config, &mut key, &around)?];
        let previous = match open_previous(&config, &around)? {
            Some((path, mut file)) => {
                servers.push(read_previous(&path, file.try_clone()?)?.public());
                file.rewind()?;
                Some(copy_to_memory(file.take(MAX_KEY_FILE_BYTES))?)
            }
            None => None,
        };
        let place = config.server.clients.path(around.credentials.as_deref());
        let enrolled_path = enrolled_file(&config.server.state);
        let clients_path = place.clone().unwrap_or_default();
        let (clients, clients_file) = match (opened, place) {
            (Some(file), _) => (SentFile::Attached, Some(file)),
            (None, Some(path)) => open_secret_file(&path),
            (None, None) => (SentFile::Nowhere, None),
        };
        let (enrolled, enrolled_file) = open_secret_file(&enrolled_path);
        let copy = |file: Option<File>, path: &Path| file.map(|file| copy_file(file, path));
        let clients_file = copy(clients_file, &clients_path).transpose()?;
        let enrolled_file = copy(enrolled_file, &enrolled_path).transpose()?;
        let (text, key) = (copy_to_memory(bytes)?, copy_to_memory(key.take(MAX_KEY_FILE_BYTES))?);
        let again = |file: &Option<File>| file.as_ref().map(File::try_clone).transpose();
        let terms = ClientTerms::of_files(TermsSource {
            path: path.to_owned(),
            config: text.try_clone()?,
            clients: again(&clients_file)?,
            enrolled: again(&enrolled_file)?,
        });
        Ok(Self {
            config,
            text,
            key,
            previous,
            clients,
            clients_file,
            enrolled,
            enrolled_file,
            servers,
            terms,
        })
    }

    /// The configuration's text.
    pub(super) fn config_text(&self) -> &File {
        &self.text
    }

    /// The clients, if a copy may stand on the disk: a credential may not.
    pub(super) fn clients_copy(&self) -> Option<&File> {
        let file = matches!(self.config.server.clients, SecretFile::File(_));
        self.clients_file.as_ref().filter(|_| file)
    }

    /// Hands them to the listener.
    pub(super) fn send_to_listener(
        &self,
        channel: &Channel,
        config: u64,
        askers: Vec<u64>,
        purpose: Purpose,
    ) -> io::Result<()> {
        let (clients, enrolled) = (self.clients_file.as_ref(), self.enrolled_file.as_ref());
        let files = [Some(&self.text), Some(&self.key), self.previous.as_ref(), clients, enrolled];
        // The listener reads with our place in the file.
        files.into_iter().flatten().try_for_each(|mut file| file.rewind())?;
        let files: Vec<BorrowedFd<'_>> = files.into_iter().flatten().map(AsFd::as_fd).collect();
        let order = ListenerOrder::Read(ReadFiles {
            config,
            previous: self.previous.is_some(),
            clients: self.clients.clone(),
            enrolled: self.enrolled.clone(),
            askers,
            purpose,
        });
        channel.send_now(&order, &files)?;
        self.terms.begin_reading()
    }
}

/// The public half of the server's key. The secret one is here for the moment that it takes to
/// compute it, before any request has come, and wiped.
fn public_half(
    config: &Config,
    key: &mut File,
    around: &Surroundings<'_>,
) -> Result<ServerPublic, Failure> {
    let path = config.server.key.path(around.credentials.as_deref()).unwrap_or_default();
    let secret: ServerSecret =
        key_file::read_opened(&path, key.try_clone()?).map_err(|error| key_failure(&error))?;
    key.rewind()?;
    Ok(secret.public())
}

fn open_secret_file(path: &Path) -> (SentFile, Option<File>) {
    match open_followed(path) {
        Ok(file) => (SentFile::Attached, Some(file)),
        Err(FileError::Missing(_)) => (SentFile::Missing, None),
        Err(error) => (SentFile::Refused(error.to_string()), None),
    }
}

/// Nobody changes it any more, in no way.
const MEMFD_SEALS: SealFlag = SealFlag::F_SEAL_SEAL
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE);

/// A copy without a name, sealed: a compromised listener has it open as well.
fn copy_to_memory(mut from: impl io::Read) -> io::Result<File> {
    let mut file = File::from(memfd_create(
        "spa-server",
        MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
    )?);
    io::copy(&mut from, &mut file).map_err(|error| {
        let text = format!("cannot copy the configuration's files into memory: {error}");
        io::Error::new(error.kind(), text)
    })?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(MEMFD_SEALS))?;
    Ok(file)
}
