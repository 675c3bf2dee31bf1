//! Reload: the files are opened and proposed, and what the listener has taken becomes what runs.

use std::io;
use std::path::{Path, PathBuf};

use spa_keys::Failure;

use super::files::ConfigFiles;
use super::listener_process::ListenerProcess;
use super::request_handler::RequestHandler;
use super::supervise;
use crate::ipc::message::Purpose;

/// Askers of one reload that are remembered: more than the control socket serves at once, they only
/// repeat each other.
const MAX_RELOAD_ASKERS: usize = 1024;

/// Files of configurations: in force, with the listener, and asked for.
pub(super) struct FileReloads {
    path: PathBuf,
    /// The files of what is in force, or of what was before a trial.
    running: ConfigFiles,
    /// The files of the newest reload, until it is over, and its number.
    read: Option<(u64, ConfigFiles)>,
    /// The listener reads files.
    reading: bool,
    /// A reload has been asked for; who, if it was somebody at the control socket.
    wanted: Option<Vec<u64>>,
}

impl FileReloads {
    /// Runs with these files, which `path` names.
    pub(super) fn new(path: &Path, running: ConfigFiles) -> Self {
        Self { path: path.to_owned(), running, read: None, reading: false, wanted: None }
    }

    /// Where the configuration stands.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The files of what is in force, or of what was before a trial.
    pub(super) fn running(&self) -> &ConfigFiles {
        &self.running
    }

    /// Tells whether nothing is read and nothing waits to be.
    pub(super) fn is_idle(&self) -> bool {
        !self.reading && self.wanted.is_none()
    }

    /// Takes note that a reload is wanted, and by whom.
    pub(super) fn want_reload(&mut self, asker: Option<u64>) {
        let wanted = self.wanted.get_or_insert_default();
        wanted.extend(asker.filter(|_| wanted.len() < MAX_RELOAD_ASKERS));
    }

    /// Sends the files of what runs to the listener.
    pub(super) fn send_running(
        &mut self,
        listener: &ListenerProcess,
        number: u64,
        purpose: Purpose,
    ) -> io::Result<()> {
        listener.send_files(&self.running, number, Vec::new(), purpose)
    }

    /// Takes note whether the listener reads files.
    pub(super) fn note_reading(&mut self, reading: bool) {
        self.reading = reading;
    }

    /// Begins a reload that was asked for, when none is under way. `free`: nothing speaks against
    /// one.
    pub(super) fn start_reload(
        &mut self,
        listener: &ListenerProcess,
        handler: &mut RequestHandler,
        free: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if self.reading || !listener.is_serving() {
            return Ok(());
        }
        let Some(askers) = self.wanted.take() else { return Ok(()) };
        supervise::notify_reloading();
        let opened = free()
            .and_then(|()| ConfigFiles::open_named(&self.path))
            .and_then(|opened| handler.enforcers.check_unchanged(&opened.config).map(|()| opened));
        match opened {
            Ok(opened) => {
                self.reading = true;
                let number =
                    handler.versions.propose_config(opened.config.clone(), opened.terms.clone());
                listener.send_files(&opened, number, askers, Purpose::Reload)?;
                self.read = Some((number, opened));
                Ok(())
            }
            Err(failure) => {
                supervise::notify_ready();
                listener.send_refusal(&failure, askers)
            }
        }
    }

    /// Takes note that the listener is done with the files of this number, and whether it took
    /// them. Returns whether they are what runs now.
    pub(super) fn end_reload(
        &mut self,
        number: u64,
        taken: bool,
        handler: &mut RequestHandler,
    ) -> bool {
        match self.read.take() {
            Some((read, opened))
                if taken && read == number && handler.versions.current.number == number =>
            {
                self.set_running(opened, handler);
                handler.versions.forget_revoked(number);
                true
            }
            _ => false,
        }
    }

    /// Makes these the files of what runs.
    pub(super) fn set_running(&mut self, opened: ConfigFiles, handler: &mut RequestHandler) {
        handler.keys.set_servers(&opened.servers);
        self.running = opened;
    }
}
