//! Record of the running server: the audit record and the figures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Listener;
use super::audit::AuditRecorder;
use crate::config::Config;
use crate::engine::{Event, EventKind, Now};
use crate::firewall::LiveGrant;
use crate::log::{self, Level};
use crate::metrics::{self, Snapshot, Tally};

/// Time between two writes of the textfile.
const TEXTFILE_INTERVAL: Duration = Duration::from_secs(15);
/// Remedy when it cannot be written.
const TEXTFILE_REMEDY: &str = "see that the folder is there, has room and can be written; one \
    that was not there at the start is out of reach until a restart";
/// Counting the bans means reading them all from the kernel. It may take this part of the time and
/// no more.
const BAN_COUNT_PAUSE_FACTOR: u32 = 1000;

/// The audit record and the figures.
pub(super) struct Telemetry {
    /// Grants of before and now, on the disk.
    pub(super) audit: AuditRecorder,
    /// Counts since the start.
    pub(super) tally: Tally,
    started_ms: u64,
    /// Bans at the last count, and when they are counted again.
    bans: Option<(u64, Instant)>,
    /// When the textfile is written next, monotonic.
    next: Duration,
    textfile: Arc<Textfile>,
}

/// State that is shared with the writing thread.
#[derive(Default)]
struct Textfile {
    busy: AtomicBool,
    failing: AtomicBool,
}

impl Telemetry {
    /// `live`: what the kernel has open at this start.
    pub(super) fn start(config: &Config, live: &[LiveGrant], now: Now) -> std::io::Result<Self> {
        Ok(Self {
            audit: AuditRecorder::start(&config.server.state, config.audit, live, now)?,
            tally: Tally::default(),
            started_ms: now.unix_ms,
            bans: None,
            next: Duration::ZERO,
            textfile: Arc::default(),
        })
    }

    /// Takes in what the engine tells the log.
    pub(super) fn note_event(&mut self, now: Now, event: &Event) {
        // What an administrator does is no knock.
        if event.by.is_none() {
            self.tally.event(event, now.unix_ms);
        }
        if matches!(event.kind, EventKind::Granted | EventKind::Renewed) {
            self.audit.note_opened(now, event);
        }
    }
}

impl Listener {
    /// Once a second.
    pub(super) fn record_tick(&mut self, now: Now) {
        self.telemetry.audit.tick(now, self.backend.firewall.as_mut());
        if now.mono < self.telemetry.next {
            return;
        }
        self.telemetry.next = now.mono.saturating_add(TEXTFILE_INTERVAL);
        let Some(path) = self.config.metrics.textfile.clone() else { return };
        let shared = Arc::clone(&self.telemetry.textfile);
        // A disk that stalls keeps one thread waiting, not one more every fifteen seconds.
        if shared.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let snapshot = self.collect_figures();
        tokio::task::spawn_blocking(move || {
            let outcome = metrics::write(&path, &metrics::text(&snapshot, now.unix_ms));
            let failed = outcome.is_err();
            if shared.failing.swap(failed, Ordering::AcqRel) != failed {
                let (level, name) = if failed {
                    (Level::Error, "metrics-not-written")
                } else {
                    (Level::Info, "metrics-written")
                };
                log::event(level, name)
                    .with("file", path.display())
                    .maybe("error", outcome.err())
                    .maybe("do", failed.then_some(TEXTFILE_REMEDY))
                    .emit();
            }
            shared.busy.store(false, Ordering::Release);
        });
    }

    /// The figures of this moment; [`metrics::text`] makes the text of them.
    pub(super) fn collect_figures(&mut self) -> Snapshot {
        let now = self.clock.now();
        let bans = self.count_bans();
        let live = self.engine.grants_by_service();
        let tally = self.telemetry.tally.clone();
        let count = |name: &str| live.get(name).copied().unwrap_or(0);
        let hits = |name: &str| tally.baits.get(name).copied().unwrap_or(0);
        Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            started_ms: self.telemetry.started_ms,
            clients: self.engine.registry().clients() as u64,
            fence: self.engine.fence_left(now),
            counters: self.engine.counters(),
            lost: self.lost,
            grants: self
                .config
                .services
                .iter()
                .map(|s| (s.name.to_string(), count(&s.name)))
                .collect(),
            bans,
            baits: self
                .config
                .baits
                .iter()
                .map(|bait| (bait.name.clone(), hits(&bait.name)))
                .collect(),
            hooks: self
                .config
                .services
                .iter()
                .flat_map(|service| tally.hooks_of(service))
                .collect(),
            audit_lost: self.telemetry.audit.lost_entries(),
            tally,
        }
    }

    fn count_bans(&mut self) -> Option<u64> {
        let begun = Instant::now();
        if let Some((bans, again)) = self.telemetry.bans
            && begun < again
        {
            return Some(bans);
        }
        let bans = self.backend.firewall.bans().ok()?.len() as u64;
        let again = begun + begun.elapsed().saturating_mul(BAN_COUNT_PAUSE_FACTOR);
        self.telemetry.bans = Some((bans, again));
        Some(bans)
    }
}
