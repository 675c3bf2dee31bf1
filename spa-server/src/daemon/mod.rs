//! The running server: tokio around the engine. One thread carries packets, firewall and control; the store and the
//! building of tag tables have threads of their own.

mod act;
mod backend;
mod baits;
mod clock;
mod commands;
pub mod control;
mod history;
pub mod readable;
mod recorder;
mod reload;
mod setup;
mod start;
mod supervise;

use std::path::{Path, PathBuf};
use std::time::Duration;

use spa_proto::TagTable;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, sleep_until};

pub use clock::Clock;
pub use setup::{Setup, hop_plan, server_key, surroundings};

use crate::capture::Capture;
use crate::capture::pace::Pace;
use crate::capture::reply::Replier;
use crate::config::Config;
use crate::engine::{Counters, Engine};
use crate::firewall::Rules;
use crate::log::{self, Level, Strangers};
use backend::Backend;
use baits::BanLines;
use commands::LastReload;
use control::{Answer, Asked};
use history::History;
use readable::{Readable, readable};
use recorder::Recorder;
use reload::Reloaded;
use spa_keys::Failure;

/// Datagrams taken before others get their turn.
const AT_ONCE: usize = 4096;
/// Tag tables are built this long before they are needed.
const AHEAD: Duration = Duration::from_secs(20);

/// Everything of a running server.
pub(super) struct Daemon {
    config_path: PathBuf,
    config: Config,
    clock: Clock,
    engine: Engine,
    capture: Option<AsyncFd<Readable<Box<dyn Capture>>>>,
    replier: Replier,
    backend: Backend,
    rules: Rules,
    recorder: Recorder,
    strangers: Strangers<6>,
    /// The time zone of the start: later its file may be out of reach.
    zone: jiff::tz::TimeZone,
    /// What clients' knocks came to.
    history: History,
    last_reload: Option<LastReload>,
    /// Bans that may still be logged one by one.
    ban_lines: BanLines,
    counted: Counters,
    lost: u64,
    /// Tables under way, so that none is built twice.
    building: Vec<u64>,
    /// Counts reloads: a table that was begun before one is of no use after it.
    generation: u64,
    /// The firewall has to be put back; tried again every tick until it works.
    broken: bool,
    /// Tells a flood from knocks.
    pace: Pace,
    /// In a flood: packets gather until then.
    resting: Option<Instant>,
}

/// Runs the server of a configuration until SIGTERM or SIGINT.
///
/// # Errors
/// Why it cannot start. Once started it goes on whatever happens, and says so in the log.
pub fn run(config_path: &Path) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (recorded, answers) = mpsc::unbounded_channel();
        let (daemon, control) = Daemon::start(config_path, recorded)?;
        daemon.serve(control, answers).await
    })
}

impl Daemon {
    async fn serve(
        mut self,
        control: UnixListener,
        mut answers: mpsc::UnboundedReceiver<Result<u64, String>>,
    ) -> Result<(), Failure> {
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let mut hup = signal(SignalKind::hangup())?;
        let (asked, mut questions) = mpsc::channel::<Asked>(16);
        let (built, mut tables) = mpsc::unbounded_channel::<(u64, u64, TagTable)>();
        let (reloaded, mut reloads) =
            mpsc::unbounded_channel::<(Reloaded, Option<oneshot::Sender<Answer>>)>();
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::spawn(control::listen(control, self.config.server.control.clone(), asked));
        supervise::ready();
        loop {
            // Biased: a flood of packets comes last, so it can hold up neither the firewall's repair nor a stop.
            tokio::select! {
                biased;
                _ = term.recv() => break,
                _ = int.recv() => break,
                _ = hup.recv() => self.begin_reload(None, &reloaded),
                Some(outcome) = answers.recv() => {
                    if let Err(error) = &outcome {
                        log::event(Level::Error, "store").with("error", error).emit();
                    }
                    self.engine.recorded(self.clock.now(), outcome);
                    self.pump();
                }
                outcome = readable(&mut self.backend.watcher) => self.firewall_changed(outcome),
                _ = tick.tick() => {
                    supervise::alive();
                    self.tick(&built);
                }
                Some((generation, epoch, table)) = tables.recv() => self.table_built(generation, epoch, table),
                outcome = readable(&mut self.backend.baits) => self.bait_hits(outcome),
                Some((outcome, asker)) = reloads.recv() => self.end_reload(outcome, asker),
                Some(asked) = questions.recv() => self.command(asked, &reloaded),
                () = sleep_until(self.resting.unwrap_or_else(Instant::now)), if self.resting.is_some() => {
                    self.resting = None;
                }
                outcome = readable(&mut self.capture), if self.resting.is_none() => self.packets(outcome),
            }
        }
        self.stop()
    }

    /// Takes waiting datagrams.
    fn packets(&mut self, outcome: std::io::Result<()>) {
        let now = self.clock.now();
        let engine = &mut self.engine;
        let mut taken = 0;
        let outcome = outcome.and_then(|()| {
            readable::take(&mut self.capture, |capture| {
                // To the end, so that readiness is over and a flood is seen whole; bounded, so that others get their turn.
                while taken < AT_ONCE {
                    match capture.drain(AT_ONCE, &mut |datagram| engine.handle(now, datagram))? {
                        0 => return Ok(0),
                        more => taken += more,
                    }
                }
                Ok(taken)
            })
        });
        if let Err(error) = outcome {
            log::event(Level::Error, "capture").with("error", error).emit();
        }
        self.pump();
        let instant = Instant::now();
        self.resting = self.pace.rest(instant.into_std(), taken).map(|rest| instant + rest);
    }

    /// Once a second: time-outs, tables, hopping, counts.
    fn tick(&mut self, built: &mpsc::UnboundedSender<(u64, u64, TagTable)>) {
        let now = self.clock.now();
        self.engine.tick(now);
        self.pump();
        for epoch in self.engine.missing_tables(now, AHEAD) {
            if self.building.contains(&epoch) {
                continue;
            }
            self.building.push(epoch);
            let registry = std::sync::Arc::clone(self.engine.registry());
            let stages = self.engine.settings().sequence.stages();
            let (built, generation) = (built.clone(), self.generation);
            tokio::task::spawn_blocking(move || {
                let _gone = built.send((generation, epoch, registry.table(epoch, stages)));
            });
        }
        if self.broken {
            self.restore();
        }
        self.hop(now.unix_ms);
        self.count(now.mono);
    }

    fn table_built(&mut self, generation: u64, epoch: u64, table: TagTable) {
        if generation == self.generation {
            self.building.retain(|known| *known != epoch);
            self.engine.install_table(epoch, table);
        }
    }

    /// Moves capture and firewall to the ports of the live hop epochs.
    fn hop(&mut self, unix_ms: u64) {
        let settings = self.engine.settings();
        let ports =
            settings.sequence.live_ports(unix_ms, settings.window_past, settings.window_future + AHEAD);
        if ports == self.rules.knock {
            return;
        }
        let rules = Rules { knock: ports.clone(), ..self.rules.clone() };
        let installed = self.backend.firewall.install(&rules).map_err(|error| error.to_string());
        let captured = match &mut self.capture {
            Some(capture) => capture.get_mut().0.set_ports(&ports).map_err(|error| error.to_string()),
            None => Ok(()),
        };
        match installed.and(captured) {
            Ok(()) => self.rules = rules,
            Err(error) => log::event(Level::Error, "hop").with("error", error).emit(),
        }
    }

    /// Somebody else changed our table.
    fn firewall_changed(&mut self, outcome: std::io::Result<()>) {
        let mut changed = false;
        let outcome = outcome.and_then(|()| {
            readable::take(&mut self.backend.watcher, |watcher| {
                changed = watcher.drain()?;
                Ok(0)
            })
        });
        let changed = outcome.map(|()| changed);
        match changed {
            Ok(false) => {}
            Ok(true) => self.restore(),
            Err(error) => {
                log::event(Level::Error, "firewall-watch").with("error", error).emit();
                self.broken = true;
            }
        }
    }

    fn restore(&mut self) {
        match self.backend.firewall.restore() {
            Ok(()) => {
                self.broken = false;
                log::event(Level::Warn, "firewall-restored")
                    .number("grants", self.engine.live_grants() as u64)
                    .with("cause", "somebody else changed table inet spa")
                    .emit();
            }
            Err(error) => {
                self.broken = true;
                log::event(Level::Error, "firewall-not-restored").with("error", error).emit();
            }
        }
    }

    /// Strangers are counted into one line a minute at most.
    fn count(&mut self, mono: Duration) {
        let (now, before) = (self.engine.counters(), self.counted);
        let kinds = [
            now.wrong_length - before.wrong_length,
            now.unknown_tag - before.unknown_tag,
            now.wrong_mac - before.wrong_mac,
            now.wrong_port - before.wrong_port,
            now.replayed - before.replayed,
        ];
        for (kind, more) in kinds.into_iter().enumerate() {
            self.strangers.add(kind, more);
        }
        self.strangers.add(kinds.len(), self.ban_lines.take_left_out());
        self.counted = now;
        self.strangers.report(mono);
        if let Some(capture) = &mut self.capture {
            let lost = capture.get_mut().0.take_lost();
            if lost > 0 && self.lost == 0 {
                log::event(Level::Warn, "capture-overrun").number("packets", lost).emit();
            }
            self.lost = self.lost.saturating_add(lost);
        }
    }

    /// A clean stop. The table stays: grants end by the kernel's timers, and what is hidden stays hidden.
    fn stop(self) -> Result<(), Failure> {
        supervise::stopping();
        let _gone = std::fs::remove_file(&self.config.server.control);
        let spent = self.engine.snapshot(self.clock.now());
        log::event(Level::Info, "stopped").number("grants", self.engine.live_grants() as u64).emit();
        self.recorder.stop(start::to_store(spent)).map_err(|error| {
            Failure::failed(format!("the replay record could not be closed: {error}; after the next start knocks are refused for up to 20 s"))
        })
    }
}
