//! The runner: a third process, which starts the programs of `on-open` and `on-close`. The listener
//! and the broker can start none. It is there only when a hook is configured, and takes jobs from
//! the broker over a socket; when the broker ends, it kills what runs and ends too.
//!
//! It has no capability but, as root, those to become another user and to kill what that user
//! started.

mod inherited;
mod job;
pub(crate) mod validate;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bincode::{Decode, Encode};
use nix::sys::socket::{getsockopt, sockopt};
use spa_keys::Failure;

use crate::ipc::channel::{Channel, ChannelError};
use crate::log::{self, Format, Level};
use crate::sandbox;
use job::Running;

/// The hidden command that the runner runs.
pub const COMMAND: &str = "run-hooks";
/// Programs at the same time.
const AT_ONCE: usize = 4;
/// Jobs that the broker gives the runner before it has reported one as done.
pub(crate) const MOST: usize = 64;

/// What the broker tells the runner.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Task {
    /// How to log; the first message.
    Log {
        /// 0 logfmt, 1 JSON, 2 journald.
        format: u8,
        /// 0 error to 3 debug.
        level: u8,
    },
    /// Run a program.
    Job(Job),
}

/// What the runner tells the broker: a job is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Report {
    /// Number of the job.
    pub number: u64,
    /// The program ended by itself, with exit code 0.
    pub good: bool,
}

/// One program to run.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Job {
    /// The broker's number for it.
    pub number: u64,
    /// Absolute path and arguments, placeholders not yet replaced.
    pub run: Vec<String>,
    /// Whom it runs as.
    pub user: Option<String>,
    /// Time limit, milliseconds.
    pub limit_ms: u64,
    /// Values of the placeholders, in the order of `config::PLACEHOLDERS`.
    pub values: [String; 5],
}

/// Starts the runner, before the broker gives up what it needs for that.
pub(crate) fn start(format: Format, level: Level) -> io::Result<(Child, Channel)> {
    let (jobs, its_jobs) = Channel::pair()?;
    let child = Command::new("/proc/self/exe")
        .arg0("spa-server")
        .arg(COMMAND)
        .stdin(Stdio::from(its_jobs.into_fd()))
        .stdout(Stdio::null())
        .env_clear()
        .spawn()?;
    let format = match format {
        Format::Logfmt => 0,
        Format::Json => 1,
        Format::Journald => 2,
    };
    let level = match level {
        Level::Error => 0,
        Level::Warn => 1,
        Level::Info => 2,
        Level::Debug => 3,
    };
    jobs.send(&Task::Log { format, level }, &[])?;
    Ok((child, jobs))
}

/// The runner's life.
///
/// # Errors
/// Somebody ran the hidden command by hand, or a wall is missing.
pub fn run() -> Result<(), Failure> {
    let refused = || {
        Failure::failed(
            "this command is a part of `spa-server run`, which starts it by itself: run that \
             instead",
        )
    };
    let jobs = Channel::inherited(io::stdin().as_fd().try_clone_to_owned()?)
        .map_err(|_not_ours| refused())?;
    let peer = getsockopt(&jobs, sockopt::PeerCredentials).map_err(io::Error::from)?;
    if peer.pid() != nix::unistd::getppid().as_raw() {
        return Err(refused());
    }
    let null = std::fs::File::open("/dev/null")?;
    nix::unistd::dup2_stdin(&null).map_err(io::Error::from)?;
    inherited::keep_from_hooks()?;
    sandbox::runner()?;

    let (queue, waiting) = sync_channel::<Job>(MOST);
    let (waiting, running, jobs) =
        (Arc::new(Mutex::new(waiting)), Running::default(), Arc::new(jobs));
    for _ in 0..AT_ONCE {
        let (waiting, running, jobs) = (Arc::clone(&waiting), running.clone(), Arc::clone(&jobs));
        thread::Builder::new()
            .name("hook".to_owned())
            .spawn(move || work(&waiting, &running, &jobs))?;
    }
    loop {
        match jobs.receive::<Task>() {
            Ok((Task::Log { format, level }, _)) => begin_log(format, level)?,
            Ok((Task::Job(job), _)) => put(&queue, job, &jobs),
            Err(ChannelError::Gone) => break,
            Err(ChannelError::Late) => {}
            Err(error) => return Err(Failure::failed(format!("the runner's orders: {error}"))),
        }
    }
    running.kill_all();
    Ok(())
}

fn begin_log(format: u8, level: u8) -> io::Result<()> {
    let format = match format {
        0 => Format::Logfmt,
        1 => Format::Json,
        _ => Format::Journald,
    };
    let level = match level {
        0 => Level::Error,
        1 => Level::Warn,
        2 => Level::Info,
        _ => Level::Debug,
    };
    log::init(format, level)
}

fn put(queue: &SyncSender<Job>, job: Job, broker: &Channel) {
    if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) = queue.try_send(job) {
        job.line(Level::Error, "hook-dropped").with("waiting", MOST).emit();
        report(broker, job.number, false);
    }
}

fn work(waiting: &Mutex<Receiver<Job>>, running: &Running, broker: &Channel) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        let good = job.carry_out(running);
        report(broker, job.number, good);
    }
}

fn report(broker: &Channel, number: u64, good: bool) {
    // A broker that is gone needs none.
    let _gone = broker.send(&Report { number, good }, &[]);
}
