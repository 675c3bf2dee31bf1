//! The process of one enforcer, as the broker sees it.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::broker::child::{describe_exit, own_program};
use crate::config::paths::broker_folder;
use crate::config::{Config, Enforcer, EnforcerKind};
use crate::firewall::capabilities::Capabilities;
use crate::ipc::channel::{Channel, ChannelError};
use crate::ipc::enforcers::{
    EnforcedGrant, EnforcerAccess, EnforcerReport, EnforcerSetup, EnforcerTask, WATCH_COMMAND,
};
use crate::log::{self, Level};

/// Grants of one message: each has up to 256 ranges of ports.
const GRANTS_PER_PAGE: usize = 24;
/// Delay until a list is sent again to a process that does not read.
const SETTLE_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Longest time that it has to end when the server does.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Something that a process has said.
pub(super) enum Said {
    /// It has begun anew: what it was asked before it will not answer.
    Begun,
    /// A change of its state.
    State,
    /// A grant is open, or is not.
    Opened(u64, Result<(), String>),
}

/// A process, and what is known of it.
pub(super) struct EnforcerProcess {
    /// Name of the enforcer.
    pub(super) name: Arc<str>,
    /// Abilities.
    pub(super) able: Capabilities,
    /// Time that it has for one grant.
    pub(super) timeout: Duration,
    /// Exactly what shall be open is; or why not.
    pub(super) state: Result<(), String>,
    /// Grants that it did not open in time, or refused.
    pub(super) failures: u64,
    setup: EnforcerSetup,
    /// `None`: it has ended for good.
    running: Option<(Child, Channel)>,
    /// It waits for the list of what is to be open: not before then.
    settle_at: Option<Instant>,
}

impl EnforcerProcess {
    /// Starts it, before the broker gives up what it needs for that.
    pub(super) fn start(enforcer: &Enforcer, config: &Config) -> io::Result<Self> {
        let (channel, its) = Channel::pair()?;
        let child = own_program(WATCH_COMMAND)
            .stdin(Stdio::from(its.into_fd()))
            .stdout(Stdio::null())
            .env_clear()
            .spawn()?;
        let access = match &enforcer.kind {
            EnforcerKind::Exec { command, expires, ends_flows } => EnforcerAccess::Exec {
                command: command.clone(),
                expires: *expires,
                ends_flows: *ends_flows,
            },
        };
        let folder = broker_folder(&config.server.state);
        let setup = EnforcerSetup {
            name: enforcer.name.to_string(),
            access,
            timeout: enforcer.timeout,
            journal: folder.join(format!("enforcer-{}", enforcer.name)),
            format: config.log.format,
            level: config.log.level,
        };
        Ok(Self {
            name: Arc::clone(&enforcer.name),
            able: enforcer.capabilities(),
            timeout: enforcer.timeout,
            state: Err("it is being started".to_owned()),
            failures: 0,
            setup,
            running: Some((child, channel)),
            settle_at: None,
        })
    }

    /// Where it reports.
    pub(super) fn report_fd(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(|(_, channel)| channel.as_fd())
    }

    /// When the list of what is to be open is to be sent.
    pub(super) fn settle_due(&self) -> Option<Instant> {
        self.settle_at.filter(|_| self.running.is_some())
    }

    /// Has the list sent.
    pub(super) fn want_settle(&mut self) {
        self.settle_at = Some(Instant::now());
    }

    /// Sends the list of what is to be open.
    pub(super) fn settle(&mut self, grants: &[EnforcedGrant]) {
        self.settle_at = None;
        let mut pages = grants.chunks(GRANTS_PER_PAGE).peekable();
        loop {
            let page = pages.next().unwrap_or_default();
            let more = pages.peek().is_some();
            if !self.send(&EnforcerTask::Settle { grants: page.to_vec(), more }) || !more {
                return;
            }
        }
    }

    /// Sends a task. One that does not read is sent the whole list instead, later: nothing that was
    /// to be closed is forgotten.
    pub(super) fn send(&mut self, task: &EnforcerTask) -> bool {
        let Some((_, channel)) = &self.running else { return false };
        match channel.send_now(task, &[]) {
            Ok(()) => true,
            Err(error) => {
                self.state = Err(format!("its process does not read: {error}"));
                self.settle_at = Some(Instant::now() + SETTLE_RETRY_DELAY);
                false
            }
        }
    }

    /// Takes what it has said, if anything waits.
    pub(super) fn take_report(&mut self) -> Option<Said> {
        let (_, channel) = self.running.as_ref()?;
        match channel.receive_now::<EnforcerReport>() {
            Ok((EnforcerReport::Started, _)) => {
                self.state = Err("it is being started".to_owned());
                let begin = EnforcerTask::Begin(self.setup.clone());
                if self.send(&begin) {
                    self.want_settle();
                }
                Some(Said::Begun)
            }
            Ok((EnforcerReport::State(state), _)) => {
                // What it said before it has the list is about another one.
                if self.settle_at.is_none() {
                    self.state = state;
                }
                Some(Said::State)
            }
            Ok((EnforcerReport::Opened { ticket, outcome }, _)) => {
                Some(Said::Opened(ticket, outcome))
            }
            Err(ChannelError::Late) => None,
            Err(error) => {
                self.end(&error.to_string());
                Some(Said::Begun)
            }
        }
    }

    /// Looks whether it has ended for good.
    pub(super) fn check_end(&mut self) -> bool {
        let Some((child, _)) = &mut self.running else { return false };
        let Ok(Some(status)) = child.try_wait() else { return false };
        self.end(&describe_exit(status));
        true
    }

    fn end(&mut self, how: &str) {
        let Some((mut child, _)) = self.running.take() else { return };
        let _gone = child.kill();
        let _status = child.wait();
        self.state = Err(format!("its process has ended: {how}"));
        log::event(Level::Error, "enforcer-ended")
            .with("enforcer", &self.name)
            .with("how", how)
            .with("do", "restart the server: until then it opens and closes nothing")
            .emit();
    }
}

impl Drop for EnforcerProcess {
    fn drop(&mut self) {
        if let Some((mut child, channel)) = self.running.take() {
            // It sees the end of its tasks, ends its program, and ends: what is open ends at its
            // time, or at the next start. One that hangs does not.
            channel.finish_sending();
            let _waits = channel.set_timeout(END_TIMEOUT);
            let end = Instant::now() + END_TIMEOUT;
            while channel.receive::<EnforcerReport>().is_ok() && Instant::now() < end {}
            let _gone = child.kill();
            let _status = child.wait();
        }
    }
}
