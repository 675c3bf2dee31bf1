//! The store on a thread of its own: a disk that stalls for seconds must not stall the packets.

use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::mpsc::UnboundedSender;

use super::key_rollover::Write;
use crate::engine::RecordError;
use crate::log::{self, Level};
use crate::store::key_rollover::FollowedFile;
use crate::store::{Snapshot, Store, StoreError};
use spa_keys::Failure;

/// Grant numbers are reserved by so many at a time, and again when half of them are used: a number
/// in the log means one grant for ever, also after a crash.
const GRANT_NUMBER_BLOCK: u64 = 10_000;

enum StoreOrder {
    Advance { mark: u64, last_grant: u64 },
    Followed(Write),
    Stop(Snapshot),
}

/// A handle to the store's thread.
pub(super) struct StoreThread {
    orders: mpsc::Sender<StoreOrder>,
    thread: JoinHandle<Result<(), String>>,
}

impl StoreThread {
    /// Starts the thread; each answer to [`StoreThread::advance_mark`] comes through
    /// `answers`. Also returns the first grant number of this run.
    pub(super) fn start(
        mut store: impl Store + 'static,
        mut followed: FollowedFile,
        answers: UnboundedSender<Result<u64, RecordError>>,
    ) -> Result<(Self, u64), Failure> {
        let failed = |error: StoreError| Failure::failed(error.to_string());
        let mut numbers = store.reserve(GRANT_NUMBER_BLOCK).map_err(failed)?;
        let first = numbers.start;
        let (orders, inbox) = mpsc::channel();
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(move || {
            for order in inbox {
                match order {
                    StoreOrder::Advance { mark, last_grant } => {
                        let mut outcome = store.advance(mark);
                        if outcome.is_ok()
                            && last_grant.saturating_add(GRANT_NUMBER_BLOCK / 2) > numbers.end
                        {
                            outcome = store.reserve(GRANT_NUMBER_BLOCK).map(|more| numbers = more);
                        }
                        let answer =
                            outcome.map(|()| mark).map_err(|error| RecordError(error.to_string()));
                        if answers.send(answer).is_err() {
                            break;
                        }
                    }
                    StoreOrder::Followed(news) => write_sightings(&mut followed, &news),
                    StoreOrder::Stop(snapshot) => {
                        return store.stop(&snapshot).map_err(|error| error.to_string());
                    }
                }
            }
            Ok(())
        })?;
        Ok((Self { orders, thread }, first))
    }

    /// Asks for a durable mark, unix ms. False: the thread is gone, nothing will ever be durable
    /// again.
    pub(super) fn advance_mark(&self, mark: u64, last_grant: u64) -> bool {
        self.orders.send(StoreOrder::Advance { mark, last_grant }).is_ok()
    }

    /// Notes by which of the server's keys a client came.
    pub(super) fn write_followed(&self, news: Write) {
        // Without the thread nothing is durable, and the mark says so.
        let _gone = self.orders.send(StoreOrder::Followed(news));
    }

    /// Writes the snapshot of a clean stop and ends the thread.
    pub(super) fn stop(self, snapshot: Snapshot) -> Result<(), String> {
        let gone = || "the store's thread ended early".to_owned();
        self.orders.send(StoreOrder::Stop(snapshot)).map_err(|_| gone())?;
        self.thread.join().map_err(|_| gone())?
    }
}

fn write_sightings(file: &mut FollowedFile, news: &Write) {
    let outcome = match news {
        Write::Begin(server, known) => file.begin(server, known),
        Write::Add(sighting) => file.add(sighting),
    };
    // No reason to refuse a knock: after a restart the administrator is warned of a client that has
    // followed.
    if let Err(error) = outcome {
        log::event(Level::Warn, "followed-not-written").with("error", error).emit();
    }
}
