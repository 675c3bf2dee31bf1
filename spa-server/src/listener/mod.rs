//! The listener: tokio around the engine, in a process without rights. One thread carries packets,
//! requests to the broker and control; the store and the building of tag tables have threads of
//! their own.

mod act;
mod askers;
mod audit;
mod backend;
mod baits;
mod clock;
mod closing;
mod commands;
mod control_socket;
mod history;
mod key_rollover;
mod process;
pub mod readable;
mod received;
mod reload;
mod retry;
mod setup;
mod start;
mod store_thread;
mod table_builds;
mod telemetry;
mod trial;

use std::path::PathBuf;
use std::time::Duration;

use spa_proto::SessionId;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, sleep_until};

pub use clock::Clock;
pub use process::run_listener;
pub use setup::Setup;

use crate::capture::Capture;
use crate::capture::pace::Pace;
use crate::capture::reply::Replier;
use crate::config::Config;
use crate::engine::{Counters, Engine, RecordError};
use crate::firewall::Rules;
use crate::ipc::channel::{Channel, ChannelError};
use crate::ipc::client::end_without_broker;
use crate::ipc::message::{HookFailures, ListenerOrder, Notice};
use crate::log::{self, Level, Strangers};
use askers::Askers;
use backend::FirewallAccess;
use baits::BanLines;
use closing::Closings;
use commands::LastReload;
use control_socket::PendingRequest;
use history::History;
use key_rollover::KeyFollowers;
use readable::{Readable, wait_readable};
use received::ReceivedFiles;
use reload::Reloaded;
use spa_keys::Failure;
use store_thread::StoreThread;
use table_builds::{BuiltTable, TableBuilds};
use telemetry::Telemetry;

/// Datagrams taken before others get their turn.
const MAX_DATAGRAMS_PER_TURN: usize = 4096;
/// Datagrams that are handled as of one moment.
const DATAGRAMS_PER_MOMENT: usize = 32;
/// Tag tables are built this long before they are needed.
const TABLE_LEAD_TIME: Duration = Duration::from_secs(20);

/// The running listener.
pub(super) struct Listener {
    config_path: PathBuf,
    /// Orders of the broker, and notices to it.
    news: Option<AsyncFd<Readable<Channel>>>,
    askers: Askers,
    /// Devices whose new keys are on the disk, to be answered when a reload has made them known
    /// here.
    replaced: Vec<SessionId>,
    config: Config,
    clock: Clock,
    engine: Engine,
    capture: Option<AsyncFd<Readable<Box<dyn Capture>>>>,
    replier: Replier,
    backend: FirewallAccess,
    rules: Rules,
    recorder: StoreThread,
    /// Audit and figures.
    telemetry: Telemetry,
    strangers: Strangers<6>,
    /// The time zone of the start: later its file may be out of reach.
    zone: jiff::tz::TimeZone,
    /// Grants that are to be closed.
    closings: Closings,
    /// Outcomes of clients' knocks.
    history: History,
    /// By which of two keys of ours each client came last.
    followed: KeyFollowers,
    last_reload: Option<LastReload>,
    /// State of trials.
    trial: trial::TrialState,
    /// Services that are not hidden yet.
    visible: Vec<String>,
    /// Bans that may still be logged one by one.
    ban_lines: BanLines,
    counted: Counters,
    lost: u64,
    table_builds: TableBuilds,
    /// Somebody changed our table and the broker could not put it back yet.
    broken: bool,
    /// Tells a flood from knocks.
    pace: Pace,
    /// In a flood: packets gather until then.
    resting: Option<Instant>,
}

impl Listener {
    async fn run_loop(
        mut self,
        control: UnixListener,
        mut answers: mpsc::UnboundedReceiver<Result<u64, RecordError>>,
        mut tables: mpsc::UnboundedReceiver<BuiltTable>,
    ) -> Result<(), Failure> {
        let (asked, mut questions) = mpsc::channel::<PendingRequest>(16);
        let (reloaded, mut reloads) = mpsc::unbounded_channel::<Reloaded>();
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::spawn(control_socket::accept_peers(
            control,
            self.config.server.control.clone(),
            asked,
        ));
        self.send_notice(&Notice::Ready);
        loop {
            // Biased: a flood of packets comes last, so it can hold up neither the firewall's
            // repair nor a stop.
            tokio::select! {
                biased;
                outcome = wait_readable(&mut self.news) => {
                    outcome?;
                    if self.take_orders(&reloaded) {
                        break;
                    }
                }
                Some(outcome) = answers.recv() => {
                    if let Err(error) = &outcome {
                        self.telemetry.tally.store_errors += 1;
                        log::event(Level::Error, "store").with("error", error).emit();
                    }
                    self.engine.apply_record_outcome(self.clock.now(), outcome);
                    self.run_actions();
                }
                _ = tick.tick() => {
                    self.send_notice(&Notice::Alive);
                    self.run_every_second();
                }
                Some(built) = tables.recv() => self.install_table(built),
                outcome = wait_readable(&mut self.backend.baits) => self.bait_hits(outcome),
                Some(outcome) = reloads.recv() => self.end_reload(outcome),
                Some(asked) = questions.recv() => self.run_command(asked),
                () = sleep_until(self.resting.unwrap_or_else(Instant::now)),
                    if self.resting.is_some() => self.resting = None,
                // By turns with the packets: neither thousands of grants nor a flood hold up the
                // other.
                () = std::future::ready(()), if self.closings.are_due() => self.close_some(),
                outcome = wait_readable(&mut self.capture), if self.resting.is_none() => {
                    self.take_packets(outcome);
                    self.closings.others_had_their_turn();
                }
                () = tokio::task::yield_now(), if self.closings.are_waiting() => {
                    self.closings.others_had_their_turn();
                }
            }
        }
        self.stop_cleanly()
    }

    /// Takes waiting datagrams.
    fn take_packets(&mut self, outcome: std::io::Result<()>) {
        let (engine, clock) = (&mut self.engine, self.clock);
        let mut taken = 0;
        let outcome = outcome.and_then(|()| {
            readable::take_waiting(&mut self.capture, |capture| {
                // To the end, so that readiness is over and a flood is seen whole; bounded, so that
                // others get their turn.
                while taken < MAX_DATAGRAMS_PER_TURN {
                    // The time anew for every few: a packet that came while others were looked at
                    // is not from the future.
                    let now = clock.now();
                    match capture
                        .drain(DATAGRAMS_PER_MOMENT, &mut |datagram| engine.handle(now, datagram))?
                    {
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
        self.run_actions();
        let instant = Instant::now();
        self.resting = self.pace.rest(instant.into_std(), taken).map(|rest| instant + rest);
    }

    /// Once a second: time-outs, tables, hopping, counts.
    fn run_every_second(&mut self) {
        let now = self.clock.now();
        self.engine.tick(now);
        self.run_actions();
        for epoch in self.engine.missing_tables(now, TABLE_LEAD_TIME) {
            let stages = self.engine.settings().sequence.stages();
            self.table_builds.begin_table(epoch, self.engine.registry(), stages);
        }
        self.follow_hops(now.unix_ms);
        self.count_strangers(now.mono);
        self.record_tick(now);
    }

    fn install_table(&mut self, built: BuiltTable) {
        if let Some((epoch, table)) = self.table_builds.end_table(built) {
            self.engine.install_table(epoch, table);
        }
    }

    /// Moves capture and firewall to the ports of the live hop epochs.
    fn follow_hops(&mut self, unix_ms: u64) {
        let settings = self.engine.settings();
        let ports = settings.sequence.live_ports(
            unix_ms,
            settings.window_past,
            settings.window_future + TABLE_LEAD_TIME,
        );
        if ports == self.rules.knock {
            return;
        }
        let rules = Rules { knock: ports.clone(), ..self.rules.clone() };
        let installed = self.backend.firewall.install(&rules).map_err(|error| error.to_string());
        let captured = match &mut self.capture {
            Some(capture) => {
                capture.get_mut().0.set_ports(&ports).map_err(|error| error.to_string())
            }
            None => Ok(()),
        };
        match installed.and(captured) {
            Ok(()) => self.rules = rules,
            Err(error) => log::event(Level::Error, "hop").with("error", error).emit(),
        }
    }

    /// Takes the broker's orders; true: stop.
    fn take_orders(&mut self, reloaded: &mpsc::UnboundedSender<Reloaded>) -> bool {
        loop {
            let mut received = None;
            let taken = readable::take_waiting(&mut self.news, |news| {
                match news.receive_now::<ListenerOrder>() {
                    Err(ChannelError::Late) => Ok(0),
                    other => {
                        received = Some(other);
                        Ok(1)
                    }
                }
            });
            if let Err(error) = taken {
                end_without_broker(&error.into());
            }
            let Some(received) = received else { return false };
            match received {
                Ok((ListenerOrder::Stop, _)) => return true,
                Ok((ListenerOrder::Read(order), files)) => {
                    let files = ReceivedFiles::new(&self.config_path, &order, files);
                    self.begin_reload(files, order, reloaded);
                }
                Ok((ListenerOrder::Refused { refusal, askers }, _)) => {
                    self.refuse_reload(&refusal.into(), &askers);
                }
                Ok((ListenerOrder::Trial { running, back }, _)) => self.trial_now(running, back),
                Ok((ListenerOrder::Told { asker, refusal }, _)) => self.answer_told(asker, refusal),
                Ok((ListenerOrder::Visible { services }, _)) => self.visible_now(services),
                Ok((ListenerOrder::HookFailures(HookFailures { service, hook, count }), _)) => {
                    self.telemetry.tally.hooks_failed(service, hook.word(), count);
                }
                Ok((ListenerOrder::Restored, _)) => {
                    self.broken = false;
                    self.telemetry.tally.restores += 1;
                    log::event(Level::Warn, "firewall-restored")
                        .number("grants", self.engine.live_grants() as u64)
                        .with("cause", "somebody else changed table inet spa")
                        .emit();
                }
                Ok((ListenerOrder::NotRestored { text }, _)) => {
                    self.broken = true;
                    self.telemetry.tally.restores_failed += 1;
                    log::event(Level::Error, "firewall-not-restored").with("error", text).emit();
                }
                Err(error) => end_without_broker(&error),
            }
        }
    }

    /// Takes note that the hidden services changed.
    fn visible_now(&mut self, services: Vec<String>) {
        for hidden in self.visible.iter().filter(|known| !services.contains(known)) {
            log::event(Level::Info, "hidden").with("service", hidden).emit();
        }
        if !services.is_empty() && services != self.visible {
            log::event(Level::Warn, "not-hidden")
                .with("services", services.join(","))
                .with("until", "a client has opened each of them once")
                .emit();
        }
        self.visible = services;
    }

    /// Tells the broker. One that has not read hundreds of notices hangs; its own end is systemd's
    /// business.
    fn send_notice(&self, notice: &Notice) {
        let Some(news) = &self.news else { return };
        if let Err(error) = news.get_ref().0.send_now(notice, &[]) {
            log::event(Level::Error, "broker-not-told").with("error", error).emit();
        }
    }

    /// Strangers are counted into one line a minute at most.
    fn count_strangers(&mut self, mono: Duration) {
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
        if now.internal_errors > before.internal_errors {
            log::event(Level::Error, "internal-error").number("count", now.internal_errors).emit();
        }
        self.strangers.report(mono);
        if let Some(capture) = &mut self.capture {
            let lost = capture.get_mut().0.take_lost();
            if lost > 0 && self.lost == 0 {
                log::event(Level::Warn, "capture-overrun").number("packets", lost).emit();
            }
            self.lost = self.lost.saturating_add(lost);
        }
    }

    /// A clean stop. The table stays: grants end by the kernel's timers, and what is hidden stays
    /// hidden.
    fn stop_cleanly(mut self) -> Result<(), Failure> {
        let spent = self.engine.snapshot(self.clock.now());
        log::event(Level::Info, "stopped")
            .number("grants", self.engine.live_grants() as u64)
            .emit();
        let closed = self.recorder.stop(start::to_store(spent));
        // Behind what replays depend on: the time for a stop is short.
        self.telemetry.audit.stop(self.backend.firewall.as_mut());
        closed.map_err(|error| {
            Failure::failed(format!(
                "the replay record could not be closed: {error}; after the \
                next start knocks are refused for up to 20 s"
            ))
        })
    }
}
