//! The loop of the broker: signals, requests, notices, repair, trials and reloads, in the order of
//! their importance.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use spa_keys::Failure;

use super::checkpoint::Checkpoint;
use super::enforcers::Enforcers;
use super::files::ConfigFiles;
use super::hooks::Hooks;
use super::listener_process::{ListenerProcess, report_distrust, time_until};
use super::network::Network;
use super::protection::InterfaceMonitor;
use super::reach_watch::ReachWatch;
use super::reload::FileReloads;
use super::request_handler::RequestHandler;
use super::supervise;
use super::table_watch::TableWatch;
use super::trial::Trials;
use crate::capture::host_addresses::HostAddresses;
use crate::config::{Backend, CaptureMode};
use crate::firewall::Firewall;
use crate::firewall::nftables::Nftables;
use crate::firewall::observe::Observe;
use crate::ipc::channel::ChannelError;
use crate::ipc::message::{ListenerOrder, Notice, Purpose};
use crate::log::{self, Level};
use crate::sandbox;

/// Notices taken before others get their turn: whoever floods us holds up no repair.
const MAX_NOTICES_PER_TURN: usize = 64;
/// Signals that are read from a descriptor.
const TAKEN_SIGNALS: [Signal; 4] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD];

/// Sources that have something to read.
struct ReadySources {
    signals: bool,
    requests: bool,
    news: bool,
    table: bool,
    runner: bool,
    network: bool,
}

/// The parts of the broker.
struct Broker {
    signals: SignalFd,
    listener: ListenerProcess,
    handler: RequestHandler,
    reloads: FileReloads,
    trials: Trials,
    table: TableWatch,
    /// `None` where the kernel does not tell of its interfaces.
    network: Option<Network>,
    protection: InterfaceMonitor,
    reach: ReachWatch,
}

/// Runs the server of a configuration until SIGTERM or SIGINT.
///
/// # Errors
/// Why it cannot start, or that the listener is gone.
pub fn run_broker(path: &Path) -> Result<(), Failure> {
    // Blocked for both processes: the listener inherits it and ends by order only, also when a
    // whole group is signalled.
    let mask: SigSet = TAKEN_SIGNALS.into_iter().collect();
    mask.thread_block().map_err(io::Error::from)?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(io::Error::from)?;
    let interrupted = Checkpoint::find_interrupted(path);
    let began_ms = interrupted.as_ref().map(|found| found.began_ms);
    let (opened, revoked) = match interrupted {
        Some(found) => (found.opened, found.revoked),
        None => (ConfigFiles::open_named(path)?, Vec::new()),
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
    let (firewall, watcher): (Box<dyn Firewall>, _) = match config.firewall.backend {
        Backend::Observe => (Box::new(Observe::new()), None),
        Backend::Nftables => {
            let nftables = Nftables::new()?;
            // Before the first install: a change in between would go unseen.
            let watcher = nftables.watcher()?;
            (Box::new(nftables), Some(watcher))
        }
    };
    // Before the listener: what it is started from has seen nothing yet.
    let hooks = Hooks::start(&config)?;
    let enforcers = Enforcers::start(&config)?;
    let listener = ListenerProcess::start(path)?;
    let binds = config.capture.mode == CaptureMode::Udp;
    let aside = began_ms.map(|_| Checkpoint::beside_state(&config.server.state));
    let (addresses, terms) = (HostAddresses::watch()?, opened.terms.clone());
    let mut handler = RequestHandler::new(firewall, addresses, config, terms, hooks, enforcers);
    handler.keys.set_servers(&opened.servers);
    for client in revoked {
        handler.versions.revoke_client(&client)?;
    }
    let broker = Broker {
        signals,
        listener,
        handler,
        reloads: FileReloads::new(path, opened),
        trials: Trials::new(aside),
        table: TableWatch::new(watcher),
        network: Network::new().ok(),
        protection: InterfaceMonitor::default(),
        reach: ReachWatch::default(),
    };
    broker.serve_until_end(binds)
}

impl Broker {
    fn serve_until_end(mut self, binds: bool) -> Result<(), Failure> {
        let outcome = sandbox::broker(binds)
            .and_then(|()| Ok(self.reloads.send_running(&self.listener, 1, Purpose::Reload)?))
            .and_then(|()| self.run_loop());
        // Whatever happened: no listener outlives its broker, and none is left unwaited for.
        let status = self.listener.wait_for_end(outcome.is_err(), &self.signals)?;
        // Its last words, whichever channel was seen to end first.
        let _gone = self.take_notices();
        self.trials.end_trial(&mut self.handler);
        if self.listener.is_ready() {
            let _gone = std::fs::remove_file(&self.handler.config().server.control);
        }
        self.listener.explain_end(outcome, status)
    }

    /// Until the listener has ended.
    fn run_loop(&mut self) -> Result<(), Failure> {
        loop {
            let ready = self.wait_for_events()?;
            // The order is the importance: a flood of requests holds up neither repair nor stop.
            if ready.signals && self.take_signals()? {
                return Ok(());
            }
            self.listener.check_stop_obeyed()?;
            if let Some(order) = self.table.repair_table(ready.table, &mut self.handler) {
                self.listener.send_order(&order)?;
            }
            if ready.news && self.take_notices()? {
                return Ok(());
            }
            if self.table.foreign_rules_changed() {
                self.handler.follow_closed_ports();
                self.reach.note_change();
            }
            if let Some(hide) = self.handler.take_hide() {
                self.listener.send_order(&ListenerOrder::Hide(hide))?;
            }
            let Self { listener, handler, reloads, trials, .. } = self;
            // A rollback goes back to keys as well. Before any request: a trial may have begun in
            // this very turn.
            handler.keys.keep_keys(trials.is_running());
            if ready.requests {
                match handler.serve_request(listener.requests()) {
                    Ok(()) => {}
                    Err(ChannelError::Gone) => return Ok(()),
                    Err(error) => return Err(report_distrust(&error)),
                }
            }
            trials.take_turn(reloads, handler, listener)?;
            if handler.keys.take_changed() {
                // The listener reads the file anew; its answer to the client waits for that.
                reloads.want_reload(None);
            }
            if let Some(hooks) = handler.due_hooks() {
                if ready.runner {
                    hooks.take_reports();
                }
                for failures in hooks.take_failures() {
                    listener.send_order(&ListenerOrder::HookFailures(failures))?;
                }
            }
            for order in handler.settle_enforced() {
                listener.send_order(&order)?;
            }
            if let Some(states) = handler.enforcers.take_news() {
                listener.send_order(&ListenerOrder::Enforcers(states))?;
            }
            let mut network_changed = false;
            if let Some(network) = &mut self.network {
                if ready.network {
                    network.drain_notices();
                }
                network_changed = network.refresh();
                if network_changed {
                    handler.refresh_host_peers();
                }
            }
            let (config, number) = (handler.config(), handler.versions.current.number);
            if let Some(order) = self.protection.tell_changes(config, number, network_changed) {
                listener.send_order(&order)?;
            }
            if network_changed {
                self.reach.note_change();
            }
            if let Some(order) = self.reach.tell_changes(handler) {
                listener.send_order(&order)?;
            }
            if let Some(services) = handler.take_visible() {
                self.reach.note_change();
                listener.send_order(&ListenerOrder::Visible { services })?;
            }
            handler.erase_former();
            reloads.start_reload(listener, handler, || trials.check_no_trial())?;
            handler.continue_work();
        }
    }

    /// Waits for something to do.
    fn wait_for_events(&self) -> Result<ReadySources, Failure> {
        let sources = [
            Some(self.signals.as_fd()),
            Some(self.listener.requests().as_fd()),
            Some(self.listener.notices().as_fd()),
            self.table.fd(),
            self.handler.hooks.as_ref().and_then(Hooks::report_fd),
            self.network.as_ref().map(|network| network.as_fd()),
        ];
        let mut waiting: Vec<PollFd<'_>> =
            sources.iter().flatten().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        // Each of these is asked whether it has said something, whoever woke us.
        let enforcers = self.handler.enforcers.report_fds();
        waiting.extend(enforcers.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let look = self.network.as_ref().and_then(Network::due);
        let stop = self.listener.stop_by();
        let hook = self.handler.hooks.as_ref().and_then(Hooks::next_due);
        let erase = Some(self.handler.keys.next_erase());
        let (table, trial, work) =
            (self.table.due(), self.trials.due(), self.handler.firewall.work_due());
        let enforced = self.handler.enforcers.due();
        let due = [stop, table, trial, hook, look, erase, work, enforced, self.reach.due()];
        let patience = due.into_iter().flatten().min().map_or(PollTimeout::NONE, time_until);
        match poll(&mut waiting, patience) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        let mut polled = waiting.iter().map(|fd| fd.any().unwrap_or(true));
        let [signals, requests, news, table, runner, network] =
            sources.map(|source| source.is_some() && polled.next().unwrap_or(false));
        Ok(ReadySources { signals, requests, news, table, runner, network })
    }

    /// Takes signals; true when the listener has ended.
    fn take_signals(&mut self) -> Result<bool, Failure> {
        while let Some(signal) = self.signals.read_signal().map_err(io::Error::from)? {
            let number = i32::try_from(signal.ssi_signo).ok();
            match number.and_then(|number| Signal::try_from(number).ok()) {
                Some(Signal::SIGHUP) => {
                    let Self { listener, handler, reloads, trials, .. } = self;
                    trials.yield_to_root(reloads, handler, listener)?;
                    reloads.want_reload(None);
                }
                Some(Signal::SIGCHLD) => {
                    if let Some(hooks) = self.handler.due_hooks() {
                        hooks.check_runner();
                    }
                    self.handler.enforcers.check_processes();
                    if self.listener.has_ended()? {
                        // What it said last may still wait.
                        let _gone = self.take_notices()?;
                        return Ok(true);
                    }
                }
                _ => {
                    supervise::notify_stopping();
                    self.listener.order_stop()?;
                }
            }
        }
        Ok(false)
    }

    /// Takes the listener's notices; true when it is gone.
    fn take_notices(&mut self) -> Result<bool, Failure> {
        for _ in 0..MAX_NOTICES_PER_TURN {
            let notice = match self.listener.take_notice() {
                Ok(notice) => notice,
                Err(ChannelError::Late) => return Ok(false),
                Err(ChannelError::Gone) => return Ok(true),
                Err(error) => return Err(report_distrust(&error)),
            };
            let Self { listener, handler, reloads, trials, .. } = self;
            match notice {
                Notice::Ready => {
                    listener.note_ready();
                    trials.finish_interrupted(handler, listener)?;
                    supervise::notify_ready();
                }
                Notice::Alive => supervise::notify_alive(),
                Notice::Reload { asker, by } => {
                    if by == 0 {
                        trials.yield_to_root(reloads, handler, listener)?;
                    }
                    reloads.want_reload(Some(asker));
                }
                Notice::Revoke { asker, client } => {
                    let done = handler.versions.revoke_client(&client);
                    let done = done.and_then(|()| trials.note_revoked(&client));
                    let refusal = done.err().map(Into::into);
                    listener.send_order(&ListenerOrder::Told { asker, refusal })?;
                }
                Notice::Reloaded { config, done } => self.finish_reload(config, done)?,
                Notice::Try { asker, by, seconds } => {
                    trials.begin_trial(asker, by, seconds, reloads, handler, listener)?;
                }
                Notice::Confirm { asker, by } => {
                    trials.confirm_trial(asker, by, reloads, handler, listener)?;
                }
                Notice::Cancel { asker, by } => {
                    trials.cancel_trial(asker, by, reloads, handler, listener)?;
                }
                Notice::Failed(refusal) => listener.note_failure(refusal.into()),
            }
        }
        Ok(false)
    }

    fn finish_reload(&mut self, number: u64, done: bool) -> Result<(), Failure> {
        let Self { listener, handler, reloads, trials, .. } = self;
        reloads.note_reading(false);
        if trials.note_read(number, done, handler, listener)? {
            // Going back may have begun meanwhile, under another number.
            reloads.note_reading(trials.is_read());
        } else if reloads.end_reload(number, done, handler) {
            trials.forget_rollback(listener)?;
        }
        if !trials.is_read() {
            handler.settle_reload();
            supervise::notify_ready();
        }
        Ok(())
    }
}
