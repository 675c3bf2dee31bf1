//! The record's thread: a disk that stalls or is full must hold up nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use spa_keys::Failure;

use super::{AuditError, AuditFile, AuditKey, AuditQuery, Entry, Limits, Page};
use crate::log::{self, Level};

/// Entries gather so long before they are written: one sync for all of them. What a crash takes is
/// no more than that, and the next start finds the grants themselves in the kernel.
const WRITE_DELAY: Duration = Duration::from_millis(250);
/// Time between two attempts on a disk that refuses.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Least time between two lines about what is lost.
const LOSS_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// Orders on their way to the thread.
const QUEUE_LENGTH: usize = 4096;
/// Entries kept for a disk that refuses; then the oldest are lost.
const MAX_KEPT_ENTRIES: usize = 10_000;

/// Takes a page, or why there is none; on the record's thread.
pub type Answer = Box<dyn FnOnce(Result<Page, Failure>) + Send>;

enum AuditOrder {
    Put(Box<Entry>),
    Limit(Limits),
    Ask(AuditQuery, Answer),
    Stop,
}

/// A handle to the record's thread.
pub struct AuditLog {
    orders: SyncSender<AuditOrder>,
    lost: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl AuditLog {
    /// Opens the record in the folder of the store and starts its thread. Also the entries that the
    /// last run left open. A record that cannot be opened is told in the log, and tried again.
    ///
    /// # Errors
    /// There is no room for a thread.
    pub fn start(
        folder: &Path,
        limits: Limits,
        now: fn() -> u64,
    ) -> std::io::Result<(Self, Vec<Entry>)> {
        let mut writer = AuditWriter {
            folder: folder.to_owned(),
            file: None,
            limits,
            now,
            kept: BTreeMap::new(),
            trim: true,
            lost: Arc::default(),
            told: 0,
            failing: None,
        };
        let open = writer.open_file().and_then(AuditFile::open_entries).unwrap_or_else(|error| {
            writer.note_failure(&error);
            Vec::new()
        });
        let (orders, inbox) = sync_channel(QUEUE_LENGTH);
        let lost = Arc::clone(&writer.lost);
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run_loop(&inbox))?;
        Ok((Self { orders, lost, thread }, open))
    }

    /// Writes an entry soon, in the place of its earlier self. Never waits: when the thread does
    /// not keep up, the entry is lost and counted.
    pub fn put(&self, entry: Entry) {
        if self.orders.try_send(AuditOrder::Put(Box::new(entry))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sets the bounds of the record from now on.
    pub fn limit(&self, limits: Limits) {
        // A queue that is full of entries takes it at the next reload.
        let _later = self.orders.try_send(AuditOrder::Limit(limits));
    }

    /// Asks for a page.
    pub fn ask(&self, query: AuditQuery, answer: Answer) {
        if let Err(error) = self.orders.try_send(AuditOrder::Ask(query, answer)) {
            let (std::sync::mpsc::TrySendError::Full(order)
            | std::sync::mpsc::TrySendError::Disconnected(order)) = error;
            if let AuditOrder::Ask(_, answer) = order {
                answer(Err(Failure::failed("the audit record does not keep up: try again")));
            }
        }
    }

    /// Entries lost since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Writes what waits and ends the thread.
    pub fn stop(self) {
        let Self { orders, thread, .. } = self;
        let _gone = orders.send(AuditOrder::Stop);
        let _ended = thread.join();
    }
}

struct AuditWriter {
    folder: PathBuf,
    file: Option<AuditFile>,
    limits: Limits,
    now: fn() -> u64,
    /// Entries that are not written yet.
    kept: BTreeMap<AuditKey, Entry>,
    /// The limits have to be looked at, though there is nothing to write.
    trim: bool,
    lost: Arc<AtomicU64>,
    /// Lost entries that the log knows of.
    told: u64,
    /// Since when it cannot be written, and when the log was told last.
    failing: Option<(Instant, Instant)>,
}

impl AuditWriter {
    fn run_loop(mut self, inbox: &Receiver<AuditOrder>) {
        loop {
            let waits = match (self.trim || !self.kept.is_empty(), self.failing.is_some()) {
                (false, _) => Duration::from_secs(3600),
                (true, false) => Duration::ZERO,
                (true, true) => RETRY_INTERVAL,
            };
            let mut order = match inbox.recv_timeout(waits) {
                Ok(order) => Some(order),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(AuditOrder::Stop),
            };
            let deadline = Instant::now() + WRITE_DELAY;
            while let Some(one) = order.take() {
                match one {
                    AuditOrder::Put(entry) => self.keep_entry(*entry),
                    AuditOrder::Limit(limits) => (self.limits, self.trim) = (limits, true),
                    AuditOrder::Ask(query, answer) => {
                        let kept = std::mem::take(&mut self.kept);
                        let page = self.open_file().and_then(|file| file.page(&query, &kept));
                        self.kept = kept;
                        answer(page.map_err(|error| Failure::failed(error.to_string())));
                    }
                    AuditOrder::Stop => return self.write_kept(true),
                }
                order = inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
            }
            self.write_kept(false);
        }
    }

    fn keep_entry(&mut self, entry: Entry) {
        self.kept.insert(entry.key(), entry);
        if self.kept.len() > MAX_KEPT_ENTRIES {
            self.kept.pop_first();
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn open_file(&mut self) -> Result<&mut AuditFile, AuditError> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => {
                let (file, aside) = AuditFile::open(&self.folder)?;
                if let Some(aside) = aside {
                    log::event(Level::Error, "audit-damaged")
                        .with("kept-as", aside.display())
                        .emit();
                }
                Ok(none.insert(file))
            }
        }
    }

    /// Writes what is kept; on a disk that refuses no more often than every [`RETRY_INTERVAL`].
    fn write_kept(&mut self, last: bool) {
        let resting = self.failing.is_some_and(|(since, _)| since.elapsed() < RETRY_INTERVAL);
        if (self.kept.is_empty() && !self.trim) || (resting && !last) {
            return;
        }
        self.trim = false;
        let kept = std::mem::take(&mut self.kept);
        let (limits, now) = (self.limits, (self.now)());
        let outcome = self.open_file().and_then(|file| file.put(kept.values(), limits, now));
        match outcome {
            Ok(()) => {
                if self.failing.take().is_some() {
                    self.log_losses(Level::Warn, "audit-written", None);
                } else if self.lost.load(Ordering::Relaxed) != self.told {
                    self.log_losses(Level::Error, "audit-lost", None);
                }
            }
            Err(error) => {
                self.kept = kept;
                self.note_failure(&error);
                if last {
                    self.lost.fetch_add(self.kept.len() as u64, Ordering::Relaxed);
                    self.kept.clear();
                    self.log_losses(Level::Error, "audit-lost", Some(&error));
                }
            }
        }
    }

    fn note_failure(&mut self, error: &AuditError) {
        let now = Instant::now();
        let told =
            self.failing.map(|(_, told)| told).filter(|told| told.elapsed() < LOSS_LOG_INTERVAL);
        if told.is_none() {
            self.log_losses(Level::Error, "audit-not-written", Some(error));
        }
        self.failing = Some((now, told.unwrap_or(now)));
    }

    fn log_losses(&mut self, level: Level, name: &'static str, error: Option<&AuditError>) {
        let lost = self.lost.load(Ordering::Relaxed);
        log::event(level, name)
            .maybe("error", error)
            .number("waiting", self.kept.len() as u64)
            .number("lost", lost.saturating_sub(self.told))
            .emit();
        self.told = lost;
    }
}
