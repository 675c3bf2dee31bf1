//! Whose end is still to be told, on the disk: what a program of `on-open` has opened, that of
//! `on-close` closes, whatever becomes of the server meanwhile.
//!
//! In the folder of `config/activated.rs`, which the listener cannot reach. A thread of its own
//! writes, because a disk may stall for seconds and no grant waits for a hook. A job goes to the
//! runner when what must not be forgotten about it is on the disk.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use serde::{Deserialize, Serialize};
use spa_keys::Failure;
use spa_keys::file::{self, FileError};

use crate::config::Hook;
use crate::ipc::channel::Channel;
use crate::ipc::hooks::{Job, Task};
use crate::log::{self, Level};

const JOURNAL_FILE: &str = "hooks";
const JOURNAL_VERSION: u32 = 1;
/// Most bytes of the file: more than a hundred thousand grants.
const MAX_JOURNAL_BYTES: u64 = 64 << 20;

/// A grant whose end a hook has to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct OwedHook {
    /// Number of the grant.
    pub(super) grant: u64,
    /// Name of the client.
    pub(super) client: String,
    /// Name of the service.
    pub(super) service: String,
    /// The address that could pass.
    pub(super) source: IpAddr,
    /// `on-close` as it was when it was opened, for a service that has none any more.
    pub(super) hook: Hook,
}

#[derive(Serialize, Deserialize)]
struct JournalContent {
    version: u32,
    owed: Vec<OwedHook>,
}

/// Reads what an earlier run has left untold.
pub(super) fn read_journal(folder: &Path) -> Vec<OwedHook> {
    let path = folder.join(JOURNAL_FILE);
    let error = match file::read_secret_up_to(&path, MAX_JOURNAL_BYTES) {
        Ok(text) => match serde_json::from_str::<JournalContent>(text.expose()) {
            Ok(content) if content.version == JOURNAL_VERSION => return content.owed,
            Ok(content) => format!("version {}", content.version),
            Err(error) => error.to_string(),
        },
        Err(FileError::Missing(_)) => return Vec::new(),
        Err(error) => error.to_string(),
    };
    report_unreadable(&path, &error);
    Vec::new()
}

fn report_unreadable(path: &Path, error: &str) {
    log::event(Level::Error, "hooks-forgotten")
        .with("file", path.display())
        .with("error", error)
        .with("do", "undo by hand what on-open did for grants that ended while no server ran")
        .emit();
}

fn write_journal(folder: &Path, owed: &BTreeMap<u64, OwedHook>) -> Result<(), Failure> {
    let content =
        JournalContent { version: JOURNAL_VERSION, owed: owed.values().cloned().collect() };
    let text = serde_json::to_string(&content).map_err(io::Error::from)?;
    file::private_folder(folder)?;
    Ok(file::replace(&folder.join(JOURNAL_FILE), &(text + "\n"))?)
}

/// Step of the thread; steps are done in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum JournalStep {
    /// This end has to be told, under this number.
    Remember(u64, OwedHook),
    /// It has been told.
    Forget(u64),
    /// The runner shall run this.
    Run(Job),
}

/// The thread that writes, and then hands jobs to the runner.
pub(super) struct JournalThread {
    steps: Option<Sender<JournalStep>>,
    thread: Option<JoinHandle<()>>,
}

impl JournalThread {
    /// `owed`: what is on the disk already.
    pub(super) fn start(
        folder: PathBuf,
        runner: Arc<Channel>,
        mut owed: BTreeMap<u64, OwedHook>,
    ) -> io::Result<Self> {
        let (steps, waiting) = mpsc::channel::<JournalStep>();
        let (mut failing, mut hangs) = (false, false);
        let work = move || {
            while let Ok(first) = waiting.recv() {
                let (mut changed, mut jobs) = (false, Vec::new());
                // What has gathered while the disk was busy shares one write.
                for step in std::iter::once(first).chain(waiting.try_iter()) {
                    match step {
                        JournalStep::Remember(place, end) => {
                            changed |= owed.insert(place, end).is_none()
                        }
                        JournalStep::Forget(place) => changed |= owed.remove(&place).is_some(),
                        JournalStep::Run(job) => jobs.push(job),
                    }
                }
                if changed {
                    let outcome = write_journal(&folder, &owed);
                    report_outcome(&outcome, &mut failing);
                }
                for job in jobs {
                    let line = job.log_line(Level::Error, "hook-dropped");
                    // One that hangs is waited for once, not once for each job: our end would wait
                    // for all of it.
                    let sent = match hangs {
                        true => runner.send_now(&Task::Run(job), &[]),
                        false => runner.send(&Task::Run(job), &[]),
                    };
                    hangs = sent.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock);
                    match sent {
                        // It has ended, which has a line of its own.
                        Ok(()) => {}
                        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                        Err(error) => line.with("error", error).emit(),
                    }
                }
            }
        };
        let thread = thread::Builder::new().name("hooks".to_owned()).spawn(work)?;
        Ok(Self { steps: Some(steps), thread: Some(thread) })
    }

    /// Hands a step to the thread.
    pub(super) fn queue_step(&self, step: JournalStep) {
        if let Some(steps) = &self.steps {
            // The thread ends with this alone.
            let _there = steps.send(step).is_ok();
        }
    }
}

fn report_outcome(outcome: &Result<(), Failure>, failing: &mut bool) {
    if let (Err(error), false) = (outcome, *failing) {
        log::event(Level::Error, "hooks-not-remembered")
            .with("error", error)
            .with(
                "do",
                "check that the folder is writable; until then on-close does not run for grants \
                 that end while no server runs",
            )
            .emit();
    }
    *failing = outcome.is_err();
}

impl Drop for JournalThread {
    fn drop(&mut self) {
        drop(self.steps.take());
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}
