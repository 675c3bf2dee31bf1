//! Reload: the broker opens configuration, key and clients; here they are read and their tables
//! built beside the running server, then swapped in as one. A bad configuration changes nothing.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use spa_proto::TagTable;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::firewall_access::FirewallAccess;
use super::knock_server::KnockServer;
use super::packet_source::{PacketSource, knock_ports};
use super::received::ReceivedFiles;
use super::setup::EnrolledFile;
use super::{Clock, Setup};
use crate::config::clients::enrolled_file;
use crate::config::{Config, Lockout};
use crate::control::status::ReloadState;
use crate::engine::live_epochs;
use crate::ipc::message::{Purpose, ReadFiles, SentFile};
use crate::log::{self, Level};
use spa_keys::Failure;

/// Outcome of reading.
pub(super) struct Reloaded {
    /// The order to read.
    pub(super) order: ReadFiles,
    outcome: Result<ReadSetup, Failure>,
}

/// A setup and its tag tables by epoch.
type ReadSetup = (Box<Setup>, Vec<(u64, TagTable)>);

/// The configuration in force, and what became of the last other one.
pub(super) struct SetupReloads {
    /// Where the configuration stands, for findings.
    path: PathBuf,
    config: Config,
    lockout: Lockout,
    enrolled: EnrolledFile,
    last: Option<ReloadState>,
    sender: UnboundedSender<Reloaded>,
    read: UnboundedReceiver<Reloaded>,
}

impl SetupReloads {
    /// Runs with this configuration, which was read from `path`.
    pub(super) fn new(
        path: PathBuf,
        config: Config,
        lockout: Lockout,
        enrolled: EnrolledFile,
    ) -> Self {
        let (sender, read) = unbounded_channel();
        Self { path, config, lockout, enrolled, last: None, sender, read }
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Who knocks where nothing is heard.
    pub(super) fn lockout(&self) -> &Lockout {
        &self.lockout
    }

    /// End of the last reload, for `status`.
    pub(super) fn last_state(&self) -> Option<ReloadState> {
        self.last.clone()
    }

    /// Starts reading on another thread.
    pub(super) fn begin_reload(&self, order: ReadFiles, files: Vec<OwnedFd>, clock: Clock) {
        let files = ReceivedFiles::new(&self.path, &order, files);
        let sender = self.sender.clone();
        tokio::task::spawn_blocking(move || {
            let files = files.ok_or_else(|| Failure::failed("the broker sent no files"));
            let outcome = files.and_then(Setup::from_received).map(|setup| {
                let stages = setup.settings.sequence.stages();
                let (first, last) =
                    live_epochs(setup.registry.len(), &setup.settings, clock.now().unix_ms);
                let tables = (first..=last)
                    .map(|epoch| (epoch, setup.registry.table(epoch, stages)))
                    .collect();
                (Box::new(setup), tables)
            });
            let _stopping = sender.send(Reloaded { order, outcome });
        });
    }

    /// Waits for a configuration that was read.
    pub(super) async fn next_reloaded(&mut self) -> Reloaded {
        match self.read.recv().await {
            Some(reloaded) => reloaded,
            // Never: a sender of ours stays.
            None => std::future::pending().await,
        }
    }

    /// Swaps in what was read. Returns what of it waits for a restart. `forced`: also when no
    /// client is left.
    pub(super) fn swap_setup(
        &mut self,
        Reloaded { order, outcome }: Reloaded,
        forced: bool,
        knocks: &mut KnockServer,
        firewall: &mut FirewallAccess,
        packets: &mut PacketSource,
    ) -> Result<Option<String>, Failure> {
        let (setup, tables) = outcome?;
        if !forced && order.purpose == Purpose::Reload {
            check_clients_left(knocks.engine.registry().clients(), &setup, &order.clients)?;
            check_enrolled_left(self.enrolled, &setup)?;
        }
        let Setup { config, registry, settings, lockout, enrolled, .. } = *setup;
        let ports = knock_ports(&settings, knocks.now().unix_ms);
        firewall.swap_rules(order.config, config.rules(&ports), packets)?;
        let note = describe_late(&self.config, &config);
        self.config = config;
        self.enrolled = enrolled;
        if lockout != self.lockout {
            lockout.log();
        }
        self.lockout = lockout;
        knocks.reload(&registry, settings, tables);
        let record = &mut knocks.record;
        record.tally.reloads += 1;
        record.audit.set_limits(self.config.audit);
        log::event(Level::Info, "reloaded")
            .number("clients", knocks.engine.registry().clients() as u64)
            .maybe("note", note.as_ref())
            .maybe(
                "for",
                match order.purpose {
                    Purpose::Reload => None,
                    Purpose::Try { .. } => Some("a trial"),
                    Purpose::Back => Some("the rollback"),
                },
            )
            .emit();
        let ms = knocks.now().unix_ms;
        self.last = Some(ReloadState { ms, ok: true, error: None, exit_code: None });
        let told = [note, self.lockout.locked_out()].into_iter().flatten();
        Ok(told.reduce(|note, more| format!("{note}; {more}")))
    }

    /// Takes note of a reload that has changed nothing. Returns what to tell who asked.
    pub(super) fn note_refusal(&mut self, why: &Failure, knocks: &mut KnockServer) -> Failure {
        knocks.record.tally.reloads_refused += 1;
        log::event(Level::Error, "reload-refused").with("error", why).emit();
        self.last = Some(ReloadState {
            ms: knocks.now().unix_ms,
            ok: false,
            error: Some(why.to_string()),
            exit_code: Some(why.code),
        });
        Failure::new(why.code, format!("nothing was changed: {why}"))
    }
}

/// Refuses files by which everybody would be locked out at once: a misspelt name, or a file that an
/// editor or a full disk has left empty, looks as if all clients had been removed.
fn check_clients_left(before: usize, new: &Setup, file: &SentFile) -> Result<(), Failure> {
    let left = new.registry.clients();
    let missing = *file == SentFile::Missing && left < before;
    if !missing && (left > 0 || before == 0) {
        return Ok(());
    }
    let what = match new.config.server.clients.path(None) {
        Some(path) if missing => format!("the clients' file {} is missing", path.display()),
        _ => "no client is left".to_owned(),
    };
    let problem = format!("{what}, and {before} would be locked out at once");
    Err(Failure::config(problem).remedy_after("if that is meant", "spa-server reload --force"))
}

/// Refuses to go on without what devices have brought about: keys that clients have replaced, some
/// because they were stolen, would be good again.
fn check_enrolled_left(before: EnrolledFile, new: &Setup) -> Result<(), Failure> {
    if before != EnrolledFile::Held || new.enrolled == EnrolledFile::Held {
        return Ok(());
    }
    let file = enrolled_file(&new.config.server.state);
    let problem = format!(
        "{} is missing or empty: keys that clients have replaced would be good again, and devices \
         that enrolled themselves locked out; put it back from a copy",
        file.display()
    );
    Err(Failure::config(problem).remedy_after("if that is meant", "spa-server reload --force"))
}

/// Describes what of a new configuration waits for a restart.
fn describe_late(old: &Config, new: &Config) -> Option<String> {
    // The listener writes in no folder but those of its start.
    let textfile = |config: &Config| {
        config.metrics.textfile.as_deref().and_then(Path::parent).map(Path::to_owned)
    };
    let fixed = [
        ("[capture]", old.capture != new.capture),
        ("[firewall] backend", old.firewall.backend != new.firewall.backend),
        ("[server] state", old.server.state != new.server.state),
        ("[server] control", old.server.control != new.server.control),
        ("[log]", old.log != new.log),
        ("[metrics] textfile", textfile(old) != textfile(new)),
    ];
    let late: Vec<&str> =
        fixed.iter().filter(|(_, changed)| *changed).map(|(name, _)| *name).collect();
    (!late.is_empty()).then(|| format!("{} take effect at the next restart", late.join(", ")))
}
