//! The engine at work: it is given packets and outcomes, and what it wants is carried out in its
//! order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use spa_keys::Failure;
use spa_proto::{ClientPublic, SessionId, TagTable};
use tokio::sync::oneshot;

use super::Clock;
use super::closing::Closings;
use super::key_rollover::{KeyFollowers, Write};
use super::record::EventRecord;
use super::store_thread::{RecordOutcome, StoreThread, write_snapshot};
use super::table_builds::{TABLE_LEAD_TIME, TableBuilds};
use crate::capture::reply::Replier;
use crate::control::Response;
use crate::domain::grant::{Grant, GrantId};
use crate::engine::{Action, ClockStep, Engine, Event, KeyReplacement, Now, Registry, Settings};
use crate::firewall::{Firewall as _, FirewallError};
use crate::ipc::client::BrokerClient;
use crate::ipc::message::RequestError;
use crate::log::{self, Level};
use crate::store::audit::EndedBy;

/// Work of another thread that is done.
pub(super) enum ThreadOutcome {
    /// A mark is durable, or is not.
    Recorded(RecordOutcome),
    /// The tag table of an epoch is built.
    Built(u64, TagTable),
}

/// Who waits for the enforcers to open a grant.
enum OpeningAsker {
    /// A knock.
    Session(SessionId),
    /// An administrator.
    Admin(Box<AdminOpening>),
}

/// A grant that an administrator opens, and how that is recorded and answered.
pub(super) struct AdminOpening {
    /// The grant.
    pub(super) grant: Grant,
    /// It was open already.
    pub(super) renewed: bool,
    /// Makes the event that is recorded.
    pub(super) event: fn(&Grant, bool, u32, Option<&FirewallError>) -> Event,
    /// Makes the response.
    pub(super) respond: fn(Result<(&Grant, bool), FirewallError>) -> Response,
    /// User id of who asks.
    pub(super) by: u32,
    /// Where the response goes.
    pub(super) answer: oneshot::Sender<Response>,
}

/// A session whose new keys are on the disk.
struct Replaced {
    session: SessionId,
    new: ClientPublic,
    /// Set when a reload has ended without them; the next one is the last to wait for.
    is_late: bool,
}

/// The engine, and everything by which its actions are carried out.
pub(super) struct KnockServer {
    /// Both clocks.
    pub(super) clock: Clock,
    /// The engine; after it was given packets [`KnockServer::run_actions`] must follow.
    pub(super) engine: Engine,
    broker: BrokerClient,
    replier: Replier,
    store: StoreThread,
    /// Record of what clients and administrators have done.
    pub(super) record: EventRecord,
    /// By which of two keys of ours each client came last.
    pub(super) followed: KeyFollowers,
    table_builds: TableBuilds,
    /// Grants that wait to be closed.
    pub(super) closings: Closings,
    /// Devices whose new keys are on the disk, to be answered when a reload has made them known
    /// here.
    replaced: Vec<Replaced>,
    /// Who waits for enforcers, by the broker's number.
    openings: HashMap<u64, OpeningAsker>,
}

impl KnockServer {
    /// Time since the start.
    pub(super) fn up_time(&self) -> Duration {
        self.clock.up_time()
    }

    /// Puts an engine to work.
    pub(super) fn new(
        clock: Clock,
        engine: Engine,
        broker: BrokerClient,
        replier: Replier,
        store: StoreThread,
        record: EventRecord,
        followed: KeyFollowers,
    ) -> Self {
        Self {
            clock,
            engine,
            broker,
            replier,
            store,
            record,
            followed,
            table_builds: TableBuilds::new(),
            closings: Closings::default(),
            replaced: Vec::new(),
            openings: HashMap::new(),
        }
    }

    /// The time.
    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }

    /// Waits for what other threads do for the engine.
    pub(super) async fn next_outcome(&mut self) -> ThreadOutcome {
        tokio::select! {
            biased;
            outcome = self.store.next_outcome() => ThreadOutcome::Recorded(outcome),
            (epoch, table) = self.table_builds.next_table() => ThreadOutcome::Built(epoch, table),
        }
    }

    /// Gives the engine what another thread has done.
    pub(super) fn apply_outcome(&mut self, outcome: ThreadOutcome) {
        match outcome {
            ThreadOutcome::Recorded(outcome) => {
                if let Some(error) = &outcome.error {
                    self.record.tally.store_errors += 1;
                    log::event(Level::Error, "store").with("error", error).emit();
                }
                for (session, claim) in outcome.claims {
                    self.engine.apply_claim(self.clock.now(), session, claim);
                }
                self.run_actions();
            }
            ThreadOutcome::Built(epoch, table) => self.engine.install_table(epoch, table),
        }
    }

    /// Once a second: time-outs, tables, grants that end.
    pub(super) fn run_every_second(&mut self) {
        let now = self.clock.now();
        self.engine.tick(now);
        self.run_actions();
        for epoch in self.engine.missing_tables(now, TABLE_LEAD_TIME) {
            let stages = self.engine.settings().sequence.stages();
            self.table_builds.begin_table(epoch, self.engine.registry(), stages);
        }
        self.record.audit.tick(now, &mut self.broker);
        self.record.report_left_out(now);
    }

    /// Carries out every waiting action. The firewall of this host answers at once, so its outcome
    /// may bring more; that of enforcers comes by [`KnockServer::settle_opening`].
    pub(super) fn run_actions(&mut self) {
        while let Some(action) = self.engine.poll() {
            match action {
                Action::ExpectClaim { ts_ms } => {
                    self.store.expect_claim(ts_ms, self.engine.last_grant().0);
                }
                Action::Claim { session, ts_ms } => {
                    if let Some(claim) = self.store.claim(session, ts_ms) {
                        self.engine.apply_claim(self.clock.now(), session, claim);
                    }
                }
                Action::Open { session, grant, ends } => {
                    match self.broker.open_grant(&grant, &ends) {
                        Ok(Some(ticket)) => {
                            self.openings.insert(ticket, OpeningAsker::Session(session));
                        }
                        outcome => {
                            let outcome = outcome.map(drop).map_err(Into::into);
                            self.engine.apply_open_outcome(self.clock.now(), session, outcome);
                        }
                    }
                }
                Action::Close { session, grants } => self.close_for_client(session, grants),
                Action::Replace { session, keys } => self.replace_keys(session, &keys),
                Action::ConfirmKeys { client } => {
                    // Until it is done the former keys are good to the end of the overlap, no
                    // longer.
                    if let Err(error) = self.broker.confirm_keys(&client) {
                        log::event(Level::Warn, "former-keys")
                            .with("client", &client)
                            .with("error", error)
                            .emit();
                    }
                }
                Action::NoteServerKey { client, by } => {
                    let at_ms = self.clock.now().unix_ms;
                    self.write_followed(|followed| followed.note_client(client, by, at_ms));
                }
                Action::NoteClockStep(step) => {
                    let (level, direction, ms) = match step {
                        ClockStep::Ahead(ms) => (Level::Warn, "ahead", ms),
                        ClockStep::Back(ms) => (Level::Warn, "back", ms),
                    };
                    log::event(level, "clock-step")
                        .with("direction", direction)
                        .number("ms", ms)
                        .emit();
                    self.warn_of_clock_behind();
                }
                Action::Revoke(revoked) => {
                    self.closings.queue_revoked(revoked);
                }
                Action::InSequence { source, ttl } => {
                    // A bait would not spare this source; the knock itself needs no mark.
                    if let Err(error) = self.broker.in_sequence(source, ttl) {
                        log::event(Level::Warn, "firewall").with("error", error).emit();
                    }
                }
                Action::Ack { reply_path, bytes } => {
                    if let Err(error) = self.replier.send(reply_path, &bytes) {
                        log::event(Level::Warn, "ack-not-sent")
                            .with("to", reply_path.to)
                            .with("error", error)
                            .emit();
                    }
                }
                Action::Log(event) => self.record.record_event(self.clock.now(), &event),
            }
        }
    }

    fn close_for_client(&mut self, session: SessionId, grants: Vec<GrantId>) {
        let audit = &mut self.record.audit;
        let mut outcome = Ok(grants.clone());
        for id in grants {
            match self.broker.close(id) {
                Ok(used) => audit.note_closed(self.clock.now(), id, EndedBy::Client, used),
                Err(error) => outcome = Err(error),
            }
        }
        let outcome = outcome.map_err(Into::into);
        self.engine.apply_close_outcome(self.clock.now(), session, outcome);
    }

    fn replace_keys(&mut self, session: SessionId, keys: &KeyReplacement) {
        match self.broker.replace_keys(keys) {
            // The answer waits until the device can knock with what it has.
            Ok(()) => {
                self.replaced.push(Replaced { session, new: keys.new, is_late: false });
            }
            Err(why) => {
                log::event(Level::Warn, "not-replaced")
                    .with("client", &keys.client)
                    .with("error", &why)
                    .emit();
                self.engine.apply_replace_outcome(self.clock.now(), session, Err(why));
            }
        }
    }

    fn write_followed(&mut self, news: impl FnOnce(&mut KeyFollowers) -> Option<Write>) {
        if let Some(news) = news(&mut self.followed) {
            self.store.write_followed(news);
        }
    }

    /// Believes the clock for an administrator; false: it is not behind.
    pub(super) fn accept_clock(&mut self) -> bool {
        let now = self.clock.now();
        let is_behind = self.engine.clock_behind(now).is_some();
        if is_behind {
            self.store.take_back(self.engine.accept_clock(now));
        }
        is_behind
    }

    /// Warns when the clock is behind what the replay state knows.
    pub(super) fn warn_of_clock_behind(&self) {
        if let Some(behind) = self.engine.clock_behind(self.clock.now()) {
            log::event(Level::Warn, "clock-behind")
                .number("s", behind.as_secs())
                .with("see", "spa-server accept-clock")
                .emit();
        }
    }

    /// Answers whoever has new keys that can knock since a reload that is over. One that was on its
    /// way already has not read them: they wait for the next.
    pub(super) fn answer_replaced(&mut self) {
        for mut one in std::mem::take(&mut self.replaced) {
            if one.is_late || self.engine.registry().knows(&one.new) {
                self.engine.apply_replace_outcome(self.clock.now(), one.session, Ok(()));
            } else {
                one.is_late = true;
                self.replaced.push(one);
            }
        }
        self.run_actions();
    }

    /// Swaps clients, services and settings.
    pub(super) fn reload(
        &mut self,
        registry: &Arc<Registry>,
        settings: Settings,
        tables: Vec<(u64, TagTable)>,
    ) {
        self.table_builds.forget_all();
        self.engine.reload(Arc::clone(registry), settings, tables);
        self.write_followed(|followed| followed.begin_registry(registry, None));
        self.run_actions();
    }

    /// Opens a service for an administrator, and answers when it is open everywhere.
    pub(super) fn open_for_admin(&mut self, opening: AdminOpening) {
        match self.broker.open_grant(&opening.grant, &[]) {
            Ok(Some(ticket)) => {
                self.openings.insert(ticket, OpeningAsker::Admin(Box::new(opening)));
            }
            outcome => self.finish_opening(opening, outcome.map(drop)),
        }
    }

    fn finish_opening(&mut self, opening: AdminOpening, outcome: Result<(), FirewallError>) {
        let AdminOpening { grant, renewed, event, respond, by, answer } = opening;
        let now = self.clock.now();
        if outcome.is_ok() {
            self.engine.adopt([(grant.clone(), grant.ttl)], now);
        }
        self.record.record_event(now, &event(&grant, renewed, by, outcome.as_ref().err()));
        let _gone = answer.send(respond(outcome.map(|()| (&grant, renewed))));
        self.run_actions();
    }

    /// Every enforcer has opened a grant, or it was taken back.
    pub(super) fn settle_opening(&mut self, ticket: u64, outcome: Result<(), RequestError>) {
        let outcome = outcome.map_err(FirewallError::from);
        match self.openings.remove(&ticket) {
            None => {}
            Some(OpeningAsker::Session(session)) => {
                let outcome = outcome.map_err(Into::into);
                self.engine.apply_open_outcome(self.clock.now(), session, outcome);
                self.run_actions();
            }
            Some(OpeningAsker::Admin(opening)) => self.finish_opening(*opening, outcome),
        }
    }

    /// Closes grants for an administrator and answers when it is done.
    pub(super) fn close_for_admin(
        &mut self,
        chosen: Vec<Grant>,
        by: u32,
        answer: oneshot::Sender<Response>,
        good: Response,
    ) {
        self.closings.queue_chosen(chosen, by, answer, good);
        self.close_slice();
    }

    /// Sends an answer to these askers when what a reload has ended is closed.
    pub(super) fn answer_when_closed(
        &mut self,
        askers: Vec<oneshot::Sender<Response>>,
        answer: Response,
    ) {
        self.closings.queue_answer(askers, answer);
        self.close_slice();
    }

    /// Closes the next grants that wait for it.
    pub(super) fn close_slice(&mut self) {
        let Self { closings, clock, engine, broker, record, .. } = self;
        closings.close_slice(*clock, engine, broker, record);
    }

    /// Takes note that nobody else wanted a turn.
    pub(super) fn others_had_their_turn(&mut self) {
        self.closings.others_had_their_turn();
    }

    /// Ends the threads after they have written what is to outlive the process. The table stays:
    /// grants end by the kernel's timers, and what is hidden stays hidden.
    pub(super) fn stop_cleanly(mut self) -> Result<(), Failure> {
        let now = self.clock.now();
        let future = self.engine.settings().window_future;
        let spent = self.engine.snapshot(now);
        let spent = write_snapshot(spent, self.engine.registry().public(), now, future);
        log::event(Level::Info, "stopped")
            .number("grants", self.engine.live_grants() as u64)
            .emit();
        let closed = self.store.stop(spent);
        // Behind what replays depend on: the time for a stop is short.
        self.record.stop(&mut self.broker);
        closed
    }
}
