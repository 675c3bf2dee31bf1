//! The runner: a third process, which starts the programs of `on-open` and `on-close`. The listener
//! and the broker can start none. It is there only when a hook is configured, and takes jobs from
//! the broker over a socket; when the broker ends, it kills what runs and ends too.
//!
//! It has no capability but, as root, those to become another user and to kill what that user
//! started.

mod job;

use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::sys::socket::{getsockopt, sockopt};
use spa_keys::Failure;

use crate::ipc::channel::{Channel, ChannelError};
use crate::ipc::hooks::{Job, JobReport, MAX_OPEN_JOBS, Task};
use crate::log::{self, Level};
use crate::sandbox;
use job::Running;

/// Programs at the same time.
const MAX_RUNNING_JOBS: usize = 4;

/// The runner's life.
///
/// # Errors
/// Somebody ran the hidden command by hand, or a wall is missing.
pub fn run_runner() -> Result<(), Failure> {
    let refused = || {
        Failure::failed(
            "this command is a part of `spa-server run`, which starts it by itself: run that \
             instead",
        )
    };
    let jobs = Channel::from_inherited(io::stdin().as_fd().try_clone_to_owned()?)
        .map_err(|_not_ours| refused())?;
    let peer = getsockopt(&jobs, sockopt::PeerCredentials).map_err(io::Error::from)?;
    if peer.pid() != nix::unistd::getppid().as_raw() {
        return Err(refused());
    }
    let null = std::fs::File::open("/dev/null")?;
    nix::unistd::dup2_stdin(&null).map_err(io::Error::from)?;
    sandbox::keep_from_programs()?;
    sandbox::runner()?;

    let (queue, waiting) = sync_channel::<Job>(MAX_OPEN_JOBS);
    let (waiting, running, jobs) =
        (Arc::new(Mutex::new(waiting)), Running::default(), Arc::new(jobs));
    for _ in 0..MAX_RUNNING_JOBS {
        let (waiting, running, jobs) = (Arc::clone(&waiting), running.clone(), Arc::clone(&jobs));
        thread::Builder::new()
            .name("hook".to_owned())
            .spawn(move || run_jobs(&waiting, &running, &jobs))?;
    }
    loop {
        match jobs.receive::<Task>() {
            Ok((Task::ConfigureLog { format, level }, _)) => log::init(format, level)?,
            Ok((Task::Run(job), _)) => queue_job(&queue, job, &jobs),
            Err(ChannelError::Gone) => break,
            Err(ChannelError::Late) => {}
            Err(error) => return Err(Failure::failed(format!("the runner's orders: {error}"))),
        }
    }
    running.kill_all();
    Ok(())
}

fn queue_job(queue: &SyncSender<Job>, job: Job, broker: &Channel) {
    if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) = queue.try_send(job) {
        job.log_line(Level::Error, "hook-dropped").with("waiting", MAX_OPEN_JOBS).emit();
        send_report(broker, job.number, false);
    }
}

fn run_jobs(waiting: &Mutex<Receiver<Job>>, running: &Running, broker: &Channel) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        let good = job.run_to_end(running);
        send_report(broker, job.number, good);
    }
}

fn send_report(broker: &Channel, number: u64, good: bool) {
    // A broker that is gone needs none.
    let _gone = broker.send(&JobReport { number, good }, &[]);
}
