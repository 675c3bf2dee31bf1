//! Figures of the running server, and the file that they are written to.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::firewall_access::FirewallAccess;
use super::knock_server::KnockServer;
use super::packet_source::PacketSource;
use crate::config::Config;
use crate::engine::Counters;
use crate::firewall::Firewall as _;
use crate::log::{self, Level};
use crate::metrics::{self, MetricsSnapshot};

/// Time between two writes of the textfile.
const TEXTFILE_INTERVAL: Duration = Duration::from_secs(15);
/// Remedy when it cannot be written.
const TEXTFILE_REMEDY: &str = "check that the folder exists, has free space and is writable; \
    a folder that did not exist at the start is out of reach until a restart";
/// Counting the bans means reading them all from the kernel. It may take this part of the time and
/// no more.
const BAN_COUNT_PAUSE_FACTOR: u32 = 1000;

/// Figures that nobody else keeps, and when they are written.
pub(super) struct Figures {
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

impl Figures {
    /// No figures yet, of a server that started at this unix time.
    pub(super) fn new(started_ms: u64) -> Self {
        Self { started_ms, bans: None, next: Duration::ZERO, textfile: Arc::default() }
    }

    /// Tells whether the textfile is to be written at this moment of the monotonic clock.
    pub(super) fn is_due(&mut self, mono: Duration) -> bool {
        let due = mono >= self.next;
        if due {
            self.next = mono.saturating_add(TEXTFILE_INTERVAL);
        }
        // A disk that stalls keeps one thread waiting, not one more every fifteen seconds.
        due && !self.textfile.busy.load(Ordering::Acquire)
    }

    /// Writes the textfile, on another thread.
    pub(super) fn write_textfile(&self, path: &Path, snapshot: MetricsSnapshot, unix_ms: u64) {
        let (path, shared) = (path.to_owned(), Arc::clone(&self.textfile));
        shared.busy.store(true, Ordering::Release);
        tokio::task::spawn_blocking(move || {
            let outcome = metrics::write(&path, &metrics::text(&snapshot, unix_ms));
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
    pub(super) fn collect_figures(
        &mut self,
        knocks: &KnockServer,
        firewall: &mut FirewallAccess,
        config: &Config,
        packets: &PacketSource,
    ) -> MetricsSnapshot {
        let (engine, record) = (&knocks.engine, &knocks.record);
        let live = engine.grants_by_service();
        let tally = record.tally.clone();
        let count = |name: &str| live.get(name).copied().unwrap_or(0);
        let hits = |name: &str| tally.baits.get(name).copied().unwrap_or(0);
        let services = config.services.iter();
        let (audit_lost, audit_left_out) = record.audit.lost_entries();
        MetricsSnapshot {
            version: env!("CARGO_PKG_VERSION"),
            started_ms: self.started_ms,
            clients: engine.registry().clients() as u64,
            fence: engine.fence_left(knocks.now()),
            counters: Counters { internal_errors: log::internal_errors(), ..engine.counters() },
            lost: packets.lost(),
            missing_ports: packets.missing_ports().len() as u64,
            grants: services.clone().map(|s| (s.name.to_string(), count(&s.name))).collect(),
            bans: self.count_bans(firewall),
            exposed: firewall.reach.exposed,
            blocked: firewall.reach.blocked,
            useless_interfaces: firewall.useless_interfaces.len() as u64,
            baits: config.baits.iter().map(|b| (b.name.clone(), hits(&b.name))).collect(),
            hooks: services.flat_map(|service| tally.hooks_of(service)).collect(),
            audit_lost,
            audit_left_out,
            enforcers: firewall
                .enforcers
                .iter()
                .map(|state| (state.name.clone(), state.problem.is_none(), state.failures))
                .collect(),
            tally,
        }
    }

    fn count_bans(&mut self, firewall: &mut FirewallAccess) -> Option<u64> {
        let begun = Instant::now();
        if let Some((bans, again)) = self.bans
            && begun < again
        {
            return Some(bans);
        }
        let bans = firewall.broker.bans().ok()?.len() as u64;
        let again = begun + begun.elapsed().saturating_mul(BAN_COUNT_PAUSE_FACTOR);
        self.bans = Some((bans, again));
        Some(bans)
    }
}
