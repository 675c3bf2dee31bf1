//! Reload: the broker opens configuration, key and clients; here they are read and their tables
//! built beside the running server, then swapped in as one. A bad configuration changes nothing.

use std::path::Path;
use std::sync::Arc;

use spa_proto::TagTable;
use tokio::sync::{mpsc, oneshot};

use super::commands::LastReload;
use super::received::ReceivedFiles;
use super::{Listener, Setup};
use crate::config::Config;
use crate::control::Response;
use crate::control::rows::{ReloadDone, TrialBegun};
use crate::engine::live_epochs;
use crate::ipc::message::{Notice, Purpose, ReadFiles, SentFile};
use crate::log::{self, Level};
use spa_keys::Failure;

/// Outcome of reading.
pub(super) struct Reloaded {
    order: ReadFiles,
    outcome: Result<Read, Failure>,
}

/// A setup and its tag tables by epoch.
type Read = (Box<Setup>, Vec<(u64, TagTable)>);

/// Where the figures go.
fn textfile_folder(config: &Config) -> Option<&Path> {
    config.metrics.textfile.as_deref().and_then(Path::parent)
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

impl Listener {
    /// Somebody at the control socket wants a reload: files are the broker's to open.
    pub(super) fn ask_reload(&mut self, asker: oneshot::Sender<Response>, force: bool) {
        let asker =
            if force { self.askers.add_forcing(asker) } else { self.askers.add_asker(asker) };
        self.send_notice(&Notice::Reload { asker });
    }

    /// Starts reading on another thread.
    pub(super) fn begin_reload(
        &mut self,
        files: Option<ReceivedFiles>,
        order: ReadFiles,
        done: &mpsc::UnboundedSender<Reloaded>,
    ) {
        let (clock, done) = (self.clock, done.clone());
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
            let _stopping = done.send(Reloaded { order, outcome });
        });
    }

    /// Swaps it in, or says why not.
    pub(super) fn end_reload(&mut self, Reloaded { order, outcome }: Reloaded) {
        let ReadFiles { config: number, purpose, clients: clients_file, askers, .. } = order;
        let before = self.engine.registry().clients();
        let may_vanish = purpose == Purpose::Back || self.askers.any_forces(&askers);
        let done = match outcome.and_then(|(setup, tables)| {
            if !may_vanish {
                check_clients_left(before, &setup, &clients_file)?;
            }
            self.swap_setup(*setup, tables, number)
        }) {
            Ok(note) => {
                self.telemetry.tally.reloads += 1;
                self.telemetry.audit.set_limits(self.config.audit);
                let clients = self.engine.registry().clients();
                log::event(Level::Info, "reloaded")
                    .number("clients", clients as u64)
                    .maybe("note", note.as_ref())
                    .maybe(
                        "for",
                        match purpose {
                            Purpose::Reload => None,
                            Purpose::Try { .. } => Some("a trial"),
                            Purpose::Back => Some("the rollback"),
                        },
                    )
                    .emit();
                self.last_reload =
                    Some(LastReload { at_ms: self.clock.now().unix_ms, refused: None });
                let clients = clients as u64;
                if let Purpose::Try { seconds: trial_s } = purpose {
                    let begun = TrialBegun { clients, note, trial_s, trial: number };
                    self.trial.note_begun(askers, Response::from_body(&begun));
                } else {
                    self.answer_closed(askers, Response::from_body(&ReloadDone { clients, note }));
                }
                true
            }
            Err(failure) => {
                self.refuse_reload(&failure, &askers);
                false
            }
        };
        self.answer_replaced();
        self.send_notice(&Notice::Reloaded { config: number, done });
    }

    /// Nothing has changed.
    pub(super) fn refuse_reload(&mut self, why: &Failure, askers: &[u64]) {
        self.telemetry.tally.reloads_refused += 1;
        log::event(Level::Error, "reload-refused").with("error", why).emit();
        let at_ms = self.clock.now().unix_ms;
        self.last_reload = Some(LastReload { at_ms, refused: Some(why.clone()) });
        let told = Failure::new(why.code, format!("nothing was changed: {why}"));
        self.askers.answer_askers(askers, &Response::from_failure(&told));
        self.answer_replaced();
    }

    fn swap_setup(
        &mut self,
        setup: Setup,
        tables: Vec<(u64, TagTable)>,
        number: u64,
    ) -> Result<Option<String>, Failure> {
        let now = self.clock.now();
        let settings = setup.settings;
        let ports = settings.sequence.live_ports(
            now.unix_ms,
            settings.window_past,
            settings.window_future + super::TABLE_LEAD_TIME,
        );
        let rules = setup.config.rules(&ports);
        let before = self.backend.remote.select_config(number);
        if let Err(error) = self.backend.firewall.install(&rules) {
            self.backend.remote.select_config(before);
            return Err(error.into());
        }
        if let Some(capture) = &mut self.capture
            && let Err(error) = capture.get_mut().0.set_ports(&ports)
        {
            // The old rules come back, so that capture and firewall agree again.
            self.backend.remote.select_config(before);
            self.backend.firewall.install(&self.rules)?;
            return Err(error.into());
        }
        let (old, new) = (&self.config, &setup.config);
        let fixed = [
            ("[capture]", old.capture != new.capture),
            ("[firewall] backend", old.firewall.backend != new.firewall.backend),
            ("[server] state", old.server.state != new.server.state),
            ("[server] control", old.server.control != new.server.control),
            ("[log]", old.log != new.log),
            // The listener writes in no folder but those of its start.
            ("[metrics] textfile", textfile_folder(old) != textfile_folder(new)),
        ];
        let late: Vec<&str> =
            fixed.iter().filter(|(_, changed)| *changed).map(|(name, _)| *name).collect();
        let note = (!late.is_empty())
            .then(|| format!("{} take effect at the next restart", late.join(", ")));
        self.rules = rules;
        self.config = setup.config;
        self.table_builds.forget_all();
        self.engine.reload(Arc::clone(&setup.registry), settings, tables);
        if let Some(news) = self.followed.begin_registry(&setup.registry, None) {
            self.recorder.write_followed(news);
        }
        self.run_actions();
        Ok(note)
    }
}
