//! Reload: configuration, keys and clients are read and their tables built beside the running server, then swapped in
//! as one. A bad configuration changes nothing.

use std::sync::Arc;

use spa_proto::TagTable;
use tokio::sync::{mpsc, oneshot};

use super::control::Answer;
use super::{Daemon, Setup, supervise};
use crate::engine::live_epochs;
use crate::log::{self, Level};
use spa_keys::Failure;

/// What reading brought.
pub(super) type Reloaded = Result<(Box<Setup>, Vec<(u64, TagTable)>), Failure>;
type Asker = Option<oneshot::Sender<Answer>>;

impl Daemon {
    /// Starts reading on another thread.
    pub(super) fn begin_reload(&mut self, asker: Asker, done: &mpsc::UnboundedSender<(Reloaded, Asker)>) {
        supervise::reloading();
        let (path, clock, done) = (self.config_path.clone(), self.clock, done.clone());
        tokio::task::spawn_blocking(move || {
            let outcome = Setup::load(&path).map(|setup| {
                let stages = setup.settings.sequence.stages();
                let (first, last) = live_epochs(setup.registry.len(), &setup.settings, clock.now().unix_ms);
                let tables =
                    (first..=last).map(|epoch| (epoch, setup.registry.table(epoch, stages))).collect();
                (Box::new(setup), tables)
            });
            let _stopping = done.send((outcome, asker));
        });
    }

    /// Swaps it in, or says why not.
    pub(super) fn end_reload(&mut self, outcome: Reloaded, asker: Asker) {
        let answer = match outcome.and_then(|(setup, tables)| self.swap(*setup, tables)) {
            Ok(note) => {
                self.record.tally.reloads += 1;
                self.record.audit.limit(self.config.audit);
                let clients = self.engine.registry().len();
                log::event(Level::Info, "reloaded")
                    .number("clients", clients as u64)
                    .maybe("note", note.as_ref())
                    .emit();
                Answer::good(serde_json::json!({"clients": clients, "note": note}))
            }
            Err(failure) => {
                self.record.tally.reloads_refused += 1;
                log::event(Level::Error, "reload-refused").with("error", &failure).emit();
                Answer::bad(format!("nothing was changed: {failure}"))
            }
        };
        supervise::ready();
        if let Some(asker) = asker {
            let _gone = asker.send(answer);
        }
    }

    fn swap(&mut self, setup: Setup, tables: Vec<(u64, TagTable)>) -> Result<Option<String>, Failure> {
        let now = self.clock.now();
        let settings = setup.settings;
        let ports = settings.sequence.live_ports(
            now.unix_ms,
            settings.window_past,
            settings.window_future + super::AHEAD,
        );
        let rules = setup.config.rules(&ports);
        self.backend.firewall.install(&rules)?;
        if let Some(capture) = &mut self.capture
            && let Err(error) = capture.get_mut().0.set_ports(&ports)
        {
            // The old rules come back, so that capture and firewall agree again.
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
        ];
        let late: Vec<&str> = fixed.iter().filter(|(_, changed)| *changed).map(|(name, _)| *name).collect();
        let note = (!late.is_empty()).then(|| format!("{} take effect at the next restart", late.join(", ")));
        self.rules = rules;
        self.config = setup.config;
        self.generation += 1;
        self.building.clear();
        self.engine.reload(Arc::clone(&setup.registry), settings, tables);
        self.pump();
        Ok(note)
    }
}
