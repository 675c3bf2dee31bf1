//! The store on a thread of its own: a disk that stalls for seconds must not stall the packets.

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use spa_proto::{ServerPublic, SessionId};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::key_rollover::Write;
use crate::engine::{Claim, Now, ReplaySnapshot, Spent, UnknownPast};
use crate::log::{self, Level};
use crate::store::key_rollover::FollowedFile;
use crate::store::{self, Claims, DiskStore, StoreError};
use spa_keys::Failure;

/// Grant numbers are reserved by so many at a time, and again when half of them are used: a number
/// in the log means one grant for ever, also after a crash.
const GRANT_NUMBER_BLOCK: u64 = 10_000;

enum StoreOrder {
    Advance { mark: u64, last_grant: u64 },
    TakeBack { mark: u64 },
    Followed(Write),
    Stop(store::StoreSnapshot),
}

/// Failure to make something durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct RecordError(String);

/// Outcome of a write, and of the claims that waited for it.
pub(super) struct RecordOutcome {
    /// Failure of the write, if it failed.
    pub(super) error: Option<RecordError>,
    /// Claims that waited for it, decided.
    pub(super) claims: Vec<(SessionId, Claim)>,
}

/// A handle to the store's thread, and the claims that it answers.
pub(super) struct StoreThread {
    claims: Claims,
    /// The last grant number that the engine has given.
    last_grant: u64,
    orders: mpsc::Sender<StoreOrder>,
    outcomes: UnboundedReceiver<Result<u64, RecordError>>,
    thread: JoinHandle<Result<(), StoreError>>,
}

impl StoreThread {
    /// Starts the thread. Also returns the first grant number of this run.
    pub(super) fn start(
        mut store: DiskStore,
        mut followed: FollowedFile,
    ) -> Result<(Self, u64), Failure> {
        let mut numbers = store.reserve(GRANT_NUMBER_BLOCK)?;
        let first = numbers.start;
        let (orders, inbox) = mpsc::channel();
        let (answers, outcomes) = unbounded_channel();
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
                        store.settle();
                    }
                    StoreOrder::TakeBack { mark } => {
                        let outcome = store.take_back(mark);
                        let answer =
                            outcome.map(|()| mark).map_err(|error| RecordError(error.to_string()));
                        if answers.send(answer).is_err() {
                            break;
                        }
                    }
                    StoreOrder::Followed(news) => write_sightings(&mut followed, &news),
                    StoreOrder::Stop(snapshot) => return store.stop(&snapshot),
                }
            }
            Ok(())
        })?;
        let claims = Claims::default();
        Ok((Self { claims, last_grant: 0, orders, outcomes, thread }, first))
    }

    /// Claims a session; `None`: its outcome comes by [`StoreThread::next_outcome`].
    pub(super) fn claim(&mut self, session: SessionId, ts_ms: u64) -> Option<Claim> {
        if self.claims.claim(session, ts_ms) {
            return Some(Claim::Fresh);
        }
        self.expect_claim(ts_ms, self.last_grant);
        None
    }

    /// Begins to write what a claim of this time stamp needs, in unix ms. Numbers of grants are
    /// reserved with it.
    pub(super) fn expect_claim(&mut self, ts_ms: u64, last_grant: u64) {
        self.last_grant = last_grant;
        if let Some(mark) = self.claims.mark_to_write(ts_ms) {
            // Without the thread no outcome comes: nothing opens, and the process ends with it.
            let _gone = self.orders.send(StoreOrder::Advance { mark, last_grant });
        }
    }

    /// Has the mark taken back to this one, in unix ms. Until it is on the disk the former one
    /// stands there, which refuses more.
    pub(super) fn take_back(&self, mark: u64) {
        let _gone = self.orders.send(StoreOrder::TakeBack { mark });
    }

    /// Waits for a mark that was made durable, or was not; for ever when the thread is gone.
    pub(super) async fn next_outcome(&mut self) -> RecordOutcome {
        let Some(outcome) = self.outcomes.recv().await else {
            return std::future::pending().await;
        };
        let (decided, next) = self.claims.note_written(outcome.as_ref().ok().copied());
        if let Some(mark) = next {
            let order = StoreOrder::Advance { mark, last_grant: self.last_grant };
            let _gone = self.orders.send(order);
        }
        let error = outcome.err();
        let claim = match &error {
            None => Claim::Fresh,
            Some(error) => Claim::Unavailable(error.to_string()),
        };
        let claims = decided.into_iter().map(|session| (session, claim.clone())).collect();
        RecordOutcome { error, claims }
    }

    /// Notes by which of the server's keys a client came.
    pub(super) fn write_followed(&self, news: Write) {
        // Without the thread nothing is durable, and the mark says so.
        let _gone = self.orders.send(StoreOrder::Followed(news));
    }

    /// Writes the snapshot of a clean stop and ends the thread.
    pub(super) fn stop(self, snapshot: store::StoreSnapshot) -> Result<(), Failure> {
        let closed = match self.orders.send(StoreOrder::Stop(snapshot)).map(|()| self.thread.join())
        {
            Ok(Ok(closed)) => closed.map_err(|error| RecordError(error.to_string())),
            _ => Err(ended_early()),
        };
        closed.map_err(|error| {
            Failure::failed(format!(
                "the replay record could not be closed: {error}; after the next start knocks are \
                 refused for up to 20 s"
            ))
        })
    }
}

fn ended_early() -> RecordError {
    RecordError("the store's thread ended early".to_owned())
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

/// The replay state as the store has kept it.
pub(super) fn read_snapshot(snapshot: store::StoreSnapshot) -> ReplaySnapshot {
    let spent = snapshot.used.into_iter().map(|used| Spent {
        client: used.client,
        session: SessionId(used.session),
        ts_ms: used.ts,
        accepted: used.accepted,
    });
    let unknown = UnknownPast {
        mark_ms: snapshot.unknown_mark,
        since: Duration::from_nanos(snapshot.unknown_since),
        reach: Duration::from_millis(snapshot.unknown_reach),
    };
    ReplaySnapshot { spent: spent.collect(), floors: snapshot.floors, unknown }
}

/// The replay state as the store keeps it. `future` is how far ahead of the clock time stamps are
/// accepted now.
pub(super) fn write_snapshot(
    snapshot: ReplaySnapshot,
    server: &ServerPublic,
    now: Now,
    future: Duration,
) -> store::StoreSnapshot {
    let used = snapshot.spent.into_iter().map(|spent| store::Used {
        session: spent.session.0,
        client: spent.client,
        ts: spent.ts_ms,
        accepted: spent.accepted,
    });
    let UnknownPast { mark_ms, since, reach } = snapshot.unknown;
    // What was accepted before the unknown moment is older by now than any new fence.
    let over = now.mono.saturating_sub(since) > reach;
    let next_reach = if over { future } else { reach.max(future) };
    let [unknown_since, unknown_reach, next_reach] =
        [since.as_nanos(), reach.as_millis(), next_reach.as_millis()]
            .map(|time| u64::try_from(time).unwrap_or(u64::MAX));
    store::StoreSnapshot {
        used: used.collect(),
        floors: snapshot.floors,
        unknown_mark: mark_ms,
        unknown_since,
        unknown_reach,
        stopped: now.unix_ms,
        next_reach,
        server: server.0,
    }
}
