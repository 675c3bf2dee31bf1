//! Hooks: the broker knows what it has opened and until when, so no word of the listener is needed
//! for them.

mod journal;
mod schedule;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::child::{describe_exit, own_program};
use crate::config::{Config, Log};
use crate::domain::grant::{Grant, GrantId};
use crate::firewall;
use crate::host_check::hook;
use crate::ipc::channel::{Channel, ChannelError};
use crate::ipc::hooks::{JobReport, RUNNER_COMMAND, Task};
use crate::ipc::message::HookFailures;
use crate::log::{self, Level};
use journal::{JournalThread, OwedHook};
use schedule::Schedule;

/// Longest time for which the runner may be too busy to take a job.
const RUNNER_SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// Failures are told to the listener this often at most: it counts them, and must not be flooded.
const FAILURE_REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Without a hook there is no runner.
fn has_hooks(config: &Config) -> bool {
    config.services.iter().any(|service| service.on_open.is_some() || service.on_close.is_some())
}

/// Names the hooks that the runner would refuse at this moment. Only at the start: to look up a
/// user can take long.
fn warn_of(config: &Config) {
    for service in &config.services {
        let both = [("open", &service.on_open), ("close", &service.on_close)];
        for (which, hook) in
            both.into_iter().filter_map(|(which, hook)| Some((which, hook.as_ref()?)))
        {
            let program =
                hook.run.first().map_or(Ok(()), |program| hook::check_program(Path::new(program)));
            let user = hook::user_or_own(hook.user.as_deref()).map(drop);
            for error in [program, user].into_iter().filter_map(Result::err) {
                log::event(Level::Warn, "hook-unfit")
                    .with("service", &service.name)
                    .with("hook", which)
                    .with("error", error)
                    .emit();
            }
        }
    }
}

struct Runner {
    child: Child,
    jobs: Arc<Channel>,
}

/// The runner, and what it will have to be told.
pub(super) struct Hooks {
    /// `None`: it has ended, and no hook runs until the next start.
    runner: Option<Runner>,
    folder: PathBuf,
    /// Hooks that an earlier run has left, until the kernel's grants are known.
    remembered: Vec<OwedHook>,
    book: Schedule,
    keeper: Option<JournalThread>,
    told: Option<Instant>,
}

impl Hooks {
    /// Starts the runner when a service has a hook, or had one that has not been told everything;
    /// before the broker gives up what it needs for that.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(config: &Config) -> io::Result<Option<Self>> {
        warn_of(config);
        let folder = crate::config::paths::broker_folder(&config.server.state);
        let remembered = journal::read_journal(&folder);
        if !has_hooks(config) && remembered.is_empty() {
            return Ok(None);
        }
        let (jobs, its_jobs) = Channel::pair()?;
        let child = own_program(RUNNER_COMMAND)
            .stdin(Stdio::from(its_jobs.into_fd()))
            .stdout(Stdio::null())
            .env_clear()
            .spawn()?;
        let Log { format, level } = config.log;
        jobs.send(&Task::ConfigureLog { format, level }, &[])?;
        jobs.set_timeout(RUNNER_SEND_TIMEOUT)?;
        Ok(Some(Self {
            runner: Some(Runner { child, jobs: Arc::new(jobs) }),
            folder,
            remembered,
            book: Schedule::default(),
            keeper: None,
            told: None,
        }))
    }

    /// Tells whether there is a runner.
    pub(super) fn is_on(&self) -> bool {
        self.runner.is_some()
    }

    /// Tells whether what the kernel has open is still to be learnt.
    pub(super) fn is_new(&self) -> bool {
        self.is_on() && self.keeper.is_none()
    }

    /// Takes the grants of an earlier run. The thread begins here, behind the walls.
    ///
    /// # Errors
    /// No thread.
    pub(super) fn adopt_grants(
        &mut self,
        config: &Config,
        live: Vec<firewall::LiveGrant>,
    ) -> io::Result<()> {
        let Some(runner) = &self.runner else { return Ok(()) };
        let remembered = std::mem::take(&mut self.remembered);
        let owed = self.book.adopt_grants(config, live, remembered, Instant::now());
        self.keeper =
            Some(JournalThread::start(self.folder.clone(), Arc::clone(&runner.jobs), owed)?);
        self.hand_over();
        Ok(())
    }

    /// A grant was opened or renewed.
    pub(super) fn note_opened(&mut self, config: &Config, grant: &Grant) {
        if self.is_on() {
            self.book.note_opened(config, grant, Instant::now());
            self.hand_over();
        }
    }

    /// A grant was closed.
    pub(super) fn note_closed(&mut self, config: &Config, id: GrantId) {
        // Without a runner it stays remembered, and is told at the next start.
        if self.is_on() {
            self.book.note_closed(config, id);
            self.hand_over();
        }
    }

    /// Tells of those whose time is over.
    pub(super) fn end_expired(&mut self, config: &Config) {
        if self.is_on() {
            self.book.end_expired(config, Instant::now());
            self.hand_over();
        }
    }

    /// When there is something to do next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let over = self.book.next_expiry().filter(|_| self.is_on());
        let failures = self
            .book
            .has_failures()
            .then(|| self.told.map_or_else(Instant::now, |at| at + FAILURE_REPORT_INTERVAL));
        [over, failures].into_iter().flatten().min()
    }

    /// Failures that the listener has not been told of.
    pub(super) fn take_failures(&mut self) -> Vec<HookFailures> {
        let now = Instant::now();
        if !self.book.has_failures()
            || self.told.is_some_and(|at| now < at + FAILURE_REPORT_INTERVAL)
        {
            return Vec::new();
        }
        self.told = Some(now);
        self.book.take_failures()
    }

    /// Where the runner reports.
    pub(super) fn report_fd(&self) -> Option<BorrowedFd<'_>> {
        self.runner.as_ref().map(|runner| runner.jobs.as_fd())
    }

    /// Takes the runner's reports.
    pub(super) fn take_reports(&mut self) {
        while let Some(runner) = &self.runner {
            match runner.jobs.receive_now::<JobReport>() {
                Ok((JobReport { number, good }, _)) => self.book.note_report(number, good),
                Err(ChannelError::Late) => break,
                // It has ended, or is none of ours any more.
                Err(error) => {
                    self.end_runner(&error.to_string());
                    break;
                }
            }
        }
        self.hand_over();
    }

    fn hand_over(&mut self) {
        let Some(keeper) = &self.keeper else { return };
        self.book.take_steps().into_iter().for_each(|step| keeper.queue_step(step));
    }

    /// Looks whether the runner has ended; then hooks end until the next start, and nothing else
    /// does.
    pub(super) fn check_runner(&mut self) {
        if let Some(runner) = &mut self.runner
            && let Ok(Some(status)) = runner.child.try_wait()
        {
            self.end_runner(&describe_exit(status));
        }
    }

    fn end_runner(&mut self, how: &str) {
        let Some(Runner { mut child, .. }) = self.runner.take() else { return };
        let _gone = child.kill();
        let _status = child.wait();
        log::event(Level::Error, "runner-ended")
            .with("how", how)
            .with("do", "restart the server: until then no hook runs; ends are told then")
            .emit();
    }
}

/// Warns when a reload has brought the first hooks.
pub(super) fn warn_of_first_hooks(config: &Config) {
    if has_hooks(config) {
        log::event(Level::Warn, "hooks-wait")
            .with("do", "restart the server: the process that runs hooks is made at the start only")
            .emit();
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        // What is done by now has not to be told again.
        self.take_reports();
        drop(self.keeper.take());
        if let Some(Runner { mut child, jobs }) = self.runner.take() {
            // It sees the end of its orders, kills what runs, and ends. One that hangs does not.
            jobs.finish_sending();
            let end = Instant::now() + RUNNER_SEND_TIMEOUT;
            let mut heard = jobs.receive::<JobReport>();
            while heard.is_ok() && Instant::now() < end {
                heard = jobs.receive();
            }
            if !matches!(heard, Err(ChannelError::Gone)) {
                let _gone = child.kill();
            }
            let _status = child.wait();
        }
    }
}
