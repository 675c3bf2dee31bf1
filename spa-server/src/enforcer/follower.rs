//! The life of an enforcer's process: tasks of the broker, one after the other, and the state that
//! it is told.

use std::io;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use spa_keys::Failure;

use super::contract::{EnforcerBackend, EnforcerError, EntryChange};
use super::exec::ExecEnforcer;
use super::journal::Journal;
use super::wanted::WantedGrants;
use super::watch::refuse_by_hand;
use crate::firewall::capabilities::Capabilities;
use crate::ipc::channel::{Channel, ChannelError};
use crate::ipc::enforcers::{
    EnforcedGrant, EnforcerAccess, EnforcerReport, EnforcerSetup, EnforcerTask,
};
use crate::log::{self, Level};

/// Time between two sweeps of ended entries, and between two signs of life asked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Shortest and longest time between two tries to make the way to it.
const RETRY_DELAY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Changes that are asked for at once.
const MAX_BATCH: usize = 256;

/// Follows the broker's tasks until it is gone.
///
/// # Errors
/// Somebody ran the hidden command by hand, a wall is missing, or the journal cannot be read.
pub fn run_enforcer() -> Result<(), Failure> {
    let tasks = Channel::from_inherited(io::stdin().as_fd().try_clone_to_owned()?)
        .map_err(|_not_ours| refuse_by_hand())?;
    let null = std::fs::File::open("/dev/null")?;
    nix::unistd::dup2_stdin(&null).map_err(io::Error::from)?;
    let told = tasks.send(&EnforcerReport::Started, &[]);
    let setup = loop {
        match tasks.receive::<EnforcerTask>() {
            Ok((EnforcerTask::Begin(setup), _)) => break setup,
            // For the process before this one: the broker says all of it anew.
            Ok(_) | Err(ChannelError::Late) => {}
            Err(ChannelError::Gone) => return Ok(()),
            Err(error) => return Err(Failure::failed(format!("the enforcer's tasks: {error}"))),
        }
    };
    told?;
    log::init(setup.format, setup.level)?;
    let EnforcerSetup { name, access, timeout, journal, .. } = setup;
    let (enforcer, able): (Box<dyn EnforcerBackend>, _) = match access {
        EnforcerAccess::Exec { command, expires, ends_flows } => {
            crate::sandbox::enforcer()?;
            let able = Capabilities::of_program(expires, ends_flows);
            (Box::new(ExecEnforcer::new(command, timeout)), able)
        }
    };
    let journal = if able.expires { None } else { Some(read_journal(&name, journal)?) };
    tasks.set_timeout(SWEEP_INTERVAL)?;
    let mut follower = Follower {
        name,
        enforcer,
        able,
        tasks,
        journal,
        wanted: WantedGrants::default(),
        coming: Vec::new(),
        begun: false,
        state: Err("it has not been asked yet".to_owned()),
        retry_at: Instant::now(),
        retry_delay: RETRY_DELAY.0,
        sweep_at: Instant::now(),
        told: None,
        connected: false,
    };
    follower.follow_tasks()
}

fn read_journal(name: &str, path: std::path::PathBuf) -> Result<Journal, Failure> {
    let shown = path.display().to_string();
    Journal::read(path).map_err(|error| {
        log::event(Level::Error, "enforcer-journal")
            .with("enforcer", name)
            .with("file", &shown)
            .with("error", &error)
            .with("do", "close by hand what is open there, then remove the file")
            .emit();
        Failure::failed(format!("{shown}: {error}"))
    })
}

struct Follower {
    name: String,
    enforcer: Box<dyn EnforcerBackend>,
    able: Capabilities,
    tasks: Channel,
    journal: Option<Journal>,
    wanted: WantedGrants,
    /// Pages of a list that is not complete yet.
    coming: Vec<EnforcedGrant>,
    /// It is known what is to be open.
    begun: bool,
    /// Exactly what is wanted is open.
    state: Result<(), String>,
    retry_at: Instant,
    retry_delay: Duration,
    sweep_at: Instant,
    /// State that was told last.
    told: Option<Result<(), String>>,
    /// There is a way to it, as far as is known.
    connected: bool,
}

impl Follower {
    fn follow_tasks(&mut self) -> Result<(), Failure> {
        loop {
            match self.tasks.receive::<EnforcerTask>() {
                Ok((EnforcerTask::Settle { grants, more }, _)) => self.take_page(grants, more),
                Ok((EnforcerTask::Open { ticket, grant }, _)) => self.open_grant(ticket, grant),
                Ok((EnforcerTask::Close { id, flows }, _)) => {
                    let change = self.wanted.remove(id, flows, Instant::now());
                    let changes: Vec<EntryChange> = change.into_iter().collect();
                    self.apply_or_settle_later(&changes);
                }
                Ok((EnforcerTask::Begin(_), _)) | Err(ChannelError::Late) => {}
                Err(ChannelError::Gone) => return Ok(()),
                Err(error) => {
                    return Err(Failure::failed(format!("the enforcer's tasks: {error}")));
                }
            }
            if self.begun && Instant::now() >= self.sweep_at {
                self.sweep_at = Instant::now() + SWEEP_INTERVAL;
                self.sweep();
            }
            self.tell_state();
        }
    }

    fn take_page(&mut self, grants: Vec<EnforcedGrant>, more: bool) {
        self.coming.extend(grants);
        if more {
            return;
        }
        let now = Instant::now();
        self.wanted = WantedGrants::default();
        for grant in std::mem::take(&mut self.coming) {
            self.wanted.insert(grant, now);
        }
        // Told even if it is as before: the broker may have doubted it.
        self.told = None;
        (self.begun, self.retry_at) = (true, now);
        self.state = Err("its grants are being compared".to_owned());
        self.settle();
    }

    fn open_grant(&mut self, ticket: u64, grant: EnforcedGrant) {
        let id = grant.id;
        let outcome = match self.state.clone() {
            Err(why) => Err(why),
            Ok(()) => {
                let change = self.wanted.insert(grant, Instant::now());
                self.write_journal()
                    .map_err(EnforcerError::Refused)
                    .and_then(|()| self.enforcer.apply(&[change]))
                    .map_err(|error| {
                        // Wanted no more: the broker takes it back. It may be open there.
                        let change = self.wanted.remove(id, true, Instant::now());
                        let text = error.to_string();
                        match error {
                            EnforcerError::Refused(_) => {
                                let changes: Vec<EntryChange> = change.into_iter().collect();
                                self.apply_or_settle_later(&changes);
                            }
                            EnforcerError::Lost(_) => self.lose(&text),
                        }
                        text
                    })
            }
        };
        self.report(&EnforcerReport::Opened { ticket, outcome });
    }

    /// Ends what is over, where that does not happen by itself; looks after the way.
    fn sweep(&mut self) {
        let able = self.able;
        let ended = self.wanted.take_ended(Instant::now()).into_iter();
        let needed = ended.filter(|(_, flows)| !able.expires || (*flows && able.ends_flows));
        let changes: Vec<EntryChange> = needed.map(|(change, _)| change).collect();
        self.apply_or_settle_later(&changes);
        if self.state.is_ok()
            && let Err(error) = self.enforcer.check_alive()
        {
            self.lose(&error.to_string());
        }
        if self.state.is_err() {
            self.settle();
        }
    }

    /// Makes exactly what is wanted be open there.
    fn settle(&mut self) {
        let now = Instant::now();
        if now < self.retry_at {
            return;
        }
        match self.compare_and_change() {
            Ok(()) => (self.state, self.retry_delay) = (Ok(()), RETRY_DELAY.0),
            Err(text) => {
                (self.state, self.connected) = (Err(text), false);
                self.retry_at = Instant::now() + self.retry_delay;
                self.retry_delay = (self.retry_delay * 2).min(RETRY_DELAY.1);
            }
        }
    }

    fn compare_and_change(&mut self) -> Result<(), String> {
        let words = |error: EnforcerError| error.to_string();
        if !self.connected {
            self.enforcer.connect().map_err(words)?;
            self.connected = true;
        }
        let mut there = self.enforcer.list().map_err(words)?;
        if let Some(journal) = &mut self.journal {
            there.extend(journal.entries().iter().cloned());
            there.extend(self.wanted.entries());
            there.sort_unstable();
            there.dedup();
            journal.write(there.clone()).map_err(|error| format!("journal: {error}"))?;
        }
        for batch in self.wanted.changes_from(there, Instant::now()).chunks(MAX_BATCH) {
            self.enforcer.apply(batch).map_err(words)?;
        }
        self.write_journal()
    }

    fn write_journal(&mut self) -> Result<(), String> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        journal.write(self.wanted.entries()).map_err(|error| format!("journal: {error}"))
    }

    /// Makes changes. What fails is done when everything is compared anew.
    fn apply_or_settle_later(&mut self, changes: &[EntryChange]) {
        if self.state.is_err() || changes.is_empty() {
            return;
        }
        let mut batches = changes.chunks(MAX_BATCH);
        let done = batches.try_for_each(|batch| self.enforcer.apply(batch));
        if let Err(text) =
            done.map_err(|error| error.to_string()).and_then(|()| self.write_journal())
        {
            self.lose(&text);
        }
    }

    fn lose(&mut self, why: &str) {
        (self.state, self.connected) = (Err(why.to_owned()), false);
        self.retry_at = self.retry_at.min(Instant::now() + RETRY_DELAY.0);
    }

    fn tell_state(&mut self) {
        if !self.begun || self.told.as_ref() == Some(&self.state) {
            return;
        }
        self.told = Some(self.state.clone());
        match &self.state {
            Ok(()) => log::event(Level::Info, "enforcer-ready").with("enforcer", &self.name).emit(),
            Err(error) => log::event(Level::Error, "enforcer-lost")
                .with("enforcer", &self.name)
                .with("error", error)
                .with("grants", "of its services are refused until it is back")
                .emit(),
        }
        self.report(&EnforcerReport::State(self.state.clone()));
    }

    fn report(&self, report: &EnforcerReport) {
        // A broker that is gone needs none.
        let _gone = self.tasks.send(report, &[]);
    }
}
