//! The broker: the process that `spa-server run` is. It may change the firewall and opens the
//! files, and it never sees a packet. Strangers' bytes are read by the listener (`listener/`), a
//! child of it without any rights, which asks for every change over a socket. Each request is
//! checked against the broker's own reading of the configuration (`authorize.rs`).
//!
//! When one of the two dies the other ends, and what is open ends by the kernel's timers.

mod authorize;
mod checkpoint;
mod child;
mod enrol;
mod files;
mod hooks;
mod network;
mod reload;
mod request_handler;
mod supervise;
#[cfg(test)]
mod tests;
mod trial;

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use spa_keys::{Failure, exit};

pub use trial::TRIAL_SECONDS;

use crate::config::{Backend as Kind, CaptureMode};
use crate::firewall::nftables::{Nftables, Watcher};
use crate::firewall::observe::Observe;
use crate::ipc::channel::ChannelError;
use crate::ipc::ends::BrokerChannels;
use crate::ipc::message::{ListenerOrder, Notice, RolledBack};
use crate::log::{self, Level};
use crate::sandbox;
use checkpoint::Checkpoint;
use files::ConfigFiles;
use hooks::Hooks;
use network::Network;
use request_handler::RequestHandler;
use trial::Trial;

/// Longest time for which the listener may be too busy to read a reply.
const LISTENER_SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// Delay until a table that could not be put back is tried again.
const RESTORE_RETRY_DELAY: Duration = Duration::from_secs(1);
/// Longest time that a listener without channels may take to end.
const LISTENER_EXIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time that the listener has to end when the server shall: to write what replays are known by.
const STOP_GRACE: Duration = Duration::from_secs(8);
/// Notices taken before others get their turn: whoever floods us holds up no repair.
const MAX_NOTICES_PER_TURN: usize = 64;

/// Sources that have something to read.
struct ReadySources {
    signals: bool,
    requests: bool,
    news: bool,
    watcher: bool,
    runner: bool,
    network: bool,
}

/// The broker and everything that it holds.
struct Broker {
    path: PathBuf,
    signals: SignalFd,
    listener: Child,
    ends: BrokerChannels,
    handler: RequestHandler,
    /// The files of what is in force, or of what was before a trial.
    running: ConfigFiles,
    /// The files of the newest reload, until it is over, and its number.
    read: Option<(u64, ConfigFiles)>,
    trial: Option<Trial>,
    /// The last rollback: another configuration runs than is on the disk.
    back: Option<RolledBack>,
    /// The mark of a trial that an earlier run did not end.
    aside: Option<Checkpoint>,
    watcher: Option<Watcher>,
    /// `None` where the kernel does not tell of its interfaces.
    network: Option<Network>,
    /// The table has to be put back: not before then.
    broken: Option<Instant>,
    /// A reload is with the listener.
    reloading: bool,
    /// A reload has been asked for; who, if it was somebody at the control socket.
    wanted: Option<Vec<u64>>,
    ready: bool,
    stopping: bool,
    /// When a listener that does not obey the stop is killed.
    stop_by: Option<Instant>,
    /// Why the listener says that it cannot go on.
    failure: Option<Failure>,
}

/// Runs the server of a configuration until SIGTERM or SIGINT.
///
/// # Errors
/// Why it cannot start, or that the listener is gone.
pub fn run_broker(path: &Path) -> Result<(), Failure> {
    // Blocked for both processes: the listener inherits it and ends by order only, also when a
    // whole group is signalled.
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD] {
        mask.add(signal);
    }
    mask.thread_block().map_err(io::Error::from)?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(io::Error::from)?;
    let found = Checkpoint::find_interrupted(path);
    let aside =
        found.as_ref().map(|found| Checkpoint::beside_state(&found.opened.config.server.state));
    let (opened, began_ms) = match found {
        Some(found) => (found.opened, Some(found.began_ms)),
        None => (ConfigFiles::open_named(path)?, None),
    };
    let config = opened.config.clone();
    log::init(config.log.format, config.log.level)?;
    if let Some(began_ms) = began_ms {
        log::event(Level::Error, "trial-interrupted")
            .number("began-ms", began_ms)
            .with("taken", "the configuration of before the trial, not the one on the disk")
            .with("do", "mend the configuration on the disk: the next reload or restart takes it")
            .emit();
    }
    let (firewall, watcher): (Box<dyn crate::firewall::Firewall>, _) = match config.firewall.backend
    {
        Kind::Observe => (Box::new(Observe::new()), None),
        Kind::Nftables => {
            let nftables = Nftables::new()?;
            // Before the first install: a change in between would go unseen.
            let watcher = nftables.watcher()?;
            (Box::new(nftables), Some(watcher))
        }
    };
    // Before the listener: what it is started from has seen nothing yet.
    let hooks = Hooks::start(&config)?;
    let (listener, ends) = child::start_listener(path)?;
    ends.requests.set_timeout(LISTENER_SEND_TIMEOUT)?;
    let binds = config.capture.mode == CaptureMode::Udp;
    let mut desk = RequestHandler::new(firewall, config, hooks);
    desk.set_servers(&opened.servers);
    let broker = Broker {
        path: path.to_owned(),
        signals,
        listener,
        ends,
        handler: desk,
        running: opened,
        read: None,
        trial: None,
        back: None,
        aside,
        watcher,
        network: Network::new().ok(),
        broken: None,
        reloading: false,
        wanted: None,
        ready: false,
        stopping: false,
        stop_by: None,
        failure: None,
    };
    broker.serve_until_end(binds)
}

impl Broker {
    fn serve_until_end(mut self, binds: bool) -> Result<(), Failure> {
        let outcome = sandbox::broker(binds)
            .and_then(|()| self.send_files(&self.running, 1, Vec::new()).map_err(Failure::from))
            .and_then(|()| self.run_loop());
        // Whatever happened: no listener outlives its broker, and none is left unwaited for. One
        // that has only closed its ends is compromised, or hangs.
        if outcome.is_err() || !self.ends_soon() {
            let _gone = self.listener.kill();
        }
        let status = self.listener.wait()?;
        // Its last words, whichever channel was seen to end first.
        let _gone = self.take_notices();
        self.end_trial();
        let outcome = match (outcome, self.failure.take()) {
            (Err(failure), _) | (Ok(()), Some(failure)) => Err(failure),
            (Ok(()), None) if self.stopping && status.success() => Ok(()),
            (Ok(()), None) => {
                let how = child::describe_exit(status);
                log::event(Level::Error, "listener-ended")
                    .with("how", &how)
                    .with("grants", "end by the kernel's timers")
                    .emit();
                Err(Failure::failed(format!("the listener ended by itself: {how}")))
            }
        };
        if self.ready {
            let _gone = std::fs::remove_file(&self.handler.config().server.control);
        }
        outcome
    }

    /// Waits for the listener's own end; false when it does not come.
    fn ends_soon(&mut self) -> bool {
        let end = Instant::now() + LISTENER_EXIT_TIMEOUT;
        loop {
            if !matches!(self.listener.try_wait(), Ok(None)) {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            // The end of a child is a signal; others are of no interest any more.
            let patience =
                PollTimeout::from(u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX));
            let _again =
                poll(&mut [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)], patience);
            while matches!(self.signals.read_signal(), Ok(Some(_))) {}
        }
    }

    /// Until the listener has ended.
    fn run_loop(&mut self) -> Result<(), Failure> {
        loop {
            let ready = self.wait_for_events()?;
            // The order is the importance: a flood of requests holds up neither repair nor stop.
            if ready.signals && self.take_signals()? {
                return Ok(());
            }
            if self.stop_by.is_some_and(|end| end <= Instant::now()) {
                let seconds = STOP_GRACE.as_secs();
                return Err(Failure::failed(format!(
                    "the listener did not end within {seconds} s: it was killed"
                )));
            }
            if ready.watcher || self.broken.is_some_and(|again| again <= Instant::now()) {
                self.repair_table()?;
            }
            if ready.news && self.take_notices()? {
                return Ok(());
            }
            // A rollback goes back to keys as well. Before any request: a trial may have begun in
            // this very turn.
            self.handler.keep_keys(self.trial.is_some());
            if ready.requests {
                match self.handler.serve_request(&self.ends.requests) {
                    Ok(()) => {}
                    Err(ChannelError::Gone) => return Ok(()),
                    Err(error) => return Err(report_distrust(&error)),
                }
            }
            self.trial_turn()?;
            if self.handler.take_changed() {
                // The listener reads the file anew; its answer to the client waits for that.
                self.wanted.get_or_insert_default();
            }
            if ready.runner {
                self.handler.due_hooks().take_reports();
            }
            if let Some(network) = &mut self.network {
                if ready.network {
                    network.heard();
                }
                network.look();
            }
            for failures in self.handler.due_hooks().take_failures() {
                self.send_order(&ListenerOrder::HookFailures(failures))?;
            }
            if let Some(services) = self.handler.take_visible() {
                self.send_order(&ListenerOrder::Visible { services })?;
            }
            self.start_reload()?;
        }
    }

    /// Waits for something to do.
    fn wait_for_events(&self) -> Result<ReadySources, Failure> {
        let sources = [
            Some(self.signals.as_fd()),
            Some(self.ends.requests.as_fd()),
            Some(self.ends.news.as_fd()),
            self.watcher.as_ref().map(AsFd::as_fd),
            self.handler.runner_fd(),
            self.network.as_ref().map(AsFd::as_fd),
        ];
        let mut waiting: Vec<PollFd<'_>> =
            sources.iter().flatten().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        let look = self.network.as_ref().and_then(Network::due);
        let due = [self.broken, self.stop_by, self.trial_due(), self.handler.next_hook(), look]
            .into_iter()
            .flatten()
            .min();
        let patience = due.map_or(PollTimeout::NONE, |again| {
            let left = again.saturating_duration_since(Instant::now());
            // Rounded up, so that the moment has come when poll returns.
            PollTimeout::from(u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX))
        });
        match poll(&mut waiting, patience) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        let mut polled = waiting.iter().map(|fd| fd.any().unwrap_or(true));
        let [signals, requests, news, watcher, runner, network] =
            sources.map(|source| source.is_some() && polled.next().unwrap_or(false));
        Ok(ReadySources { signals, requests, news, watcher, runner, network })
    }

    /// Takes signals; true when the listener has ended.
    fn take_signals(&mut self) -> Result<bool, Failure> {
        while let Some(signal) = self.signals.read_signal().map_err(io::Error::from)? {
            match i32::try_from(signal.ssi_signo)
                .ok()
                .and_then(|number| Signal::try_from(number).ok())
            {
                Some(Signal::SIGHUP) => self.wanted = Some(self.wanted.take().unwrap_or_default()),
                Some(Signal::SIGCHLD) => {
                    self.handler.due_hooks().check_runner();
                    if self.listener.try_wait()?.is_some() {
                        // What it said last may still wait.
                        let _gone = self.take_notices()?;
                        return Ok(true);
                    }
                }
                _ => {
                    supervise::notify_stopping();
                    self.stopping = true;
                    self.stop_by.get_or_insert_with(|| Instant::now() + STOP_GRACE);
                    self.send_order(&ListenerOrder::Stop)?;
                }
            }
        }
        Ok(false)
    }

    /// Takes the listener's notices; true when it is gone.
    fn take_notices(&mut self) -> Result<bool, Failure> {
        for _ in 0..MAX_NOTICES_PER_TURN {
            let notice = match self.ends.news.receive_now::<Notice>() {
                Ok((notice, _files)) => notice,
                Err(ChannelError::Late) => return Ok(false),
                Err(ChannelError::Gone) => return Ok(true),
                Err(error) => return Err(report_distrust(&error)),
            };
            match notice {
                Notice::Ready => {
                    self.ready = true;
                    self.finish_interrupted_trial()?;
                    supervise::notify_ready();
                }
                Notice::Alive => supervise::notify_alive(),
                Notice::Reload { asker } => {
                    // More than the control socket serves at once: they only repeat each other.
                    let wanted = self.wanted.get_or_insert_default();
                    if wanted.len() < 1024 {
                        wanted.push(asker);
                    }
                }
                Notice::Reloaded { config, done } => self.finish_reload(config, done)?,
                Notice::Try { asker, by, seconds } => self.begin_trial(asker, by, seconds)?,
                Notice::Confirm { asker, by } => self.confirm_trial(asker, by)?,
                Notice::Cancel { asker, by } => self.cancel_trial(asker, by)?,
                Notice::Failed(refusal) => self.failure = Some(refusal.into()),
            }
        }
        Ok(false)
    }

    /// Puts the table back when somebody else changed it.
    fn repair_table(&mut self) -> Result<(), Failure> {
        let changed = self.watcher.as_mut().map_or(Ok(false), Watcher::drain);
        match changed {
            Ok(false) if self.broken.is_none() => return Ok(()),
            Ok(_) => {}
            Err(error) => log::event(Level::Error, "firewall-watch").with("error", error).emit(),
        }
        match self.handler.restore_table() {
            Ok(()) => {
                self.broken = None;
                self.send_order(&ListenerOrder::Restored)
            }
            Err(error) => {
                self.broken = Some(Instant::now() + RESTORE_RETRY_DELAY);
                self.send_order(&ListenerOrder::NotRestored { text: error.to_string() })
            }
        }
    }

    /// Tells the listener. One that has not read hundreds of orders hangs, and is of no use.
    fn send_order(&self, order: &ListenerOrder) -> Result<(), Failure> {
        match self.ends.news.send_now(order, &[]) {
            // It has ended: its last words come next.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => {
                Err(Failure::failed(format!("the listener does not take orders: {error}")))
            }
            Ok(()) => Ok(()),
        }
    }
}

/// No listener of ours says such a thing: it is compromised, or broken.
fn report_distrust(error: &ChannelError) -> Failure {
    log::event(Level::Error, "listener-distrusted").with("error", error).emit();
    Failure::new(exit::FAILURE, format!("the listener is ended: {error}"))
}
