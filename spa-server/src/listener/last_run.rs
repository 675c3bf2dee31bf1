//! Trust in the last run: whether its snapshot is of the server's own immediate past, or one that
//! somebody or something has put back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use spa_keys::{Failure, file, whole_millis};
use spa_proto::{RandomError, ServerPublic, random};

use super::store_thread::read_snapshot;
use crate::engine::{Freshness, LONGEST_REACH, Now, Settings, UnknownPast};
use crate::log::{self, Level};
use crate::store::{self, DiskStore, RunIdentity, StoreState};

/// Longest time between stop and start over which a snapshot is trusted, in milliseconds.
const MAX_STOPPED_MS: u64 = 60_000;

/// The store's findings at the start.
pub(super) struct Found {
    /// State of the store at its opening.
    pub(super) state: StoreState,
    /// The durable fence, unix ms.
    pub(super) mark: u64,
    /// Identity of the run before, if the store names one.
    pub(super) last_run: Option<RunIdentity>,
}

/// This run, and where its number stands for the next one: in a folder that a reboot empties.
pub(super) struct ThisRun {
    /// Boot, machine and key of this run.
    pub(super) identity: RunIdentity,
    /// The server's key from before.
    previous: Option<[u8; 32]>,
    path: PathBuf,
    /// Number of the run before, as its file had it.
    last_run: Option<String>,
}

/// The number of a run as its file has it.
fn format_number(run: &[u8; 16]) -> String {
    run.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes into the store that a run of which nothing else is known has ended: the next start
/// trusts no snapshot, and refuses every knock that may have been made before it, under whatever
/// clock. `server`: the server's key, when it can be read.
///
/// # Errors
/// A server runs, or the store cannot be written.
pub(crate) fn forget_past(state: &Path, server: Option<&ServerPublic>) -> Result<(), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::failed(error.to_string());
    // Without the key it is as another server's, of which nothing is believed either.
    let number = random().map_err(|e| failed(&e))?;
    let mut run = RunIdentity::on_this_machine(number, server.map_or([0; 32], |key| key.0));
    run.reach = whole_millis(LONGEST_REACH);
    // To open it takes the snapshot: it is good for one start.
    let mut opened = DiskStore::open(state).map_err(|e| failed(&e))?;
    opened.store.begin_run(&run).map_err(|e| failed(&e))
}

impl ThisRun {
    /// Draws the number of this run, and reads that of the last one beside the control socket.
    ///
    /// # Errors
    /// There are no random bytes.
    pub(super) fn draw_identity(
        control: &Path,
        server: &ServerPublic,
        previous: Option<&ServerPublic>,
    ) -> Result<Self, RandomError> {
        let path = control.with_extension("run");
        let last_run = file::read_secret(&path).ok().map(|text| text.expose().to_owned());
        let identity = RunIdentity::on_this_machine(random()?, server.0);
        Ok(Self { identity, previous: previous.map(|key| key.0), path, last_run })
    }

    /// Writes the number of this run. Without it the next run trusts no snapshot, which costs a
    /// wait and nothing else.
    pub(super) fn write_number(&self) {
        if let Err(error) = file::replace(&self.path, &format_number(&self.identity.run)) {
            log::event(Level::Warn, "run-not-written").with("error", error).emit();
        }
    }

    /// Translates what the store said into rules for time stamps.
    pub(super) fn find_freshness(
        &mut self,
        found: Found,
        settings: &Settings,
        now: Now,
    ) -> Freshness {
        let freshness = self.judge_store(found, settings, now);
        let reach = freshness.unknown_past().reach;
        self.identity.reach = whole_millis(reach);
        freshness
    }

    fn judge_store(&self, found: Found, settings: &Settings, now: Now) -> Freshness {
        let Found { state, mark, last_run: last } = found;
        let nothing_known = || Freshness::unknown(0, now.mono, LONGEST_REACH);
        let snapshot = match state {
            StoreState::Missing => {
                log::event(Level::Warn, "store-missing")
                    .with("refused", "knocks made before the start, and for a minute")
                    .emit();
                return nothing_known();
            }
            StoreState::Unreadable { why } => {
                log::event(Level::Error, "store-unreadable")
                    .with("error", why)
                    .with("refused", "knocks made before the start, and for a minute")
                    .emit();
                return nothing_known();
            }
            StoreState::Crashed { .. } => None,
            StoreState::Clean { snapshot } => Some(snapshot),
        };
        // Killed while it was made in the place of a missing one.
        let Some(last) = last else { return nothing_known() };
        let here = &self.identity;
        // While the server changes its key, the last run may have had the one before.
        let is_ours = last.server == here.server || Some(last.server) == self.previous;
        if last.machine != here.machine || !is_ours {
            log::event(Level::Error, "store-copied")
                .with("cause", "it belongs to another machine, or to another server key")
                .with("refused", "knocks made before the start, and for a minute")
                .emit();
            return nothing_known();
        }
        if last.is_before_the_first() {
            return self.judge_new_store(&last, settings, now);
        }
        let reach = settings.window_future.max(Duration::from_millis(last.reach));
        match snapshot {
            Some(snapshot) if self.is_trusted(&last, &snapshot, now) => {
                let mut snapshot = read_snapshot(snapshot);
                let UnknownPast { mark_ms, since, reach: before } = snapshot.unknown;
                snapshot.unknown =
                    UnknownPast { mark_ms, since, reach: before.max(settings.window_future) };
                Freshness::trusted(snapshot)
            }
            Some(_) => {
                log::event(Level::Info, "old-stop").with("refused-until", mark).emit();
                Freshness::unknown(mark, now.mono, reach)
            }
            None => {
                log::event(Level::Warn, "unclean-stop").with("refused-until", mark).emit();
                Freshness::unknown(mark, now.mono, reach)
            }
        }
    }

    /// The rules of a key's first run, by the store that `spa-server init` has made beside it. One
    /// that was put back after a run is found by that run's number, or by another boot.
    fn judge_new_store(&self, last: &RunIdentity, settings: &Settings, now: Now) -> Freshness {
        let is_new =
            !last.boot.is_empty() && last.boot == self.identity.boot && self.last_run.is_none();
        let reach = if is_new { settings.window_future } else { LONGEST_REACH };
        log::event(Level::Info, "new-store")
            .with("refused", "knocks made before the start")
            .number("for-s", reach.as_secs())
            .emit();
        Freshness::unknown(0, now.mono, reach)
    }

    /// Tells whether a snapshot is this machine's own of a moment ago.
    fn is_trusted(&self, last: &RunIdentity, snapshot: &store::StoreSnapshot, now: Now) -> bool {
        let stopped_for = now.unix_ms.checked_sub(snapshot.stopped);
        !last.boot.is_empty()
            && last.boot == self.identity.boot
            && self.last_run.as_deref() == Some(format_number(&last.run).as_str())
            && stopped_for.is_some_and(|time| time <= MAX_STOPPED_MS)
    }
}
