//! Carrying out what the engine wants, in its order.

use std::time::Duration;

use spa_proto::Reason;

use super::Listener;
use crate::engine::{Action, Event, EventKind, RecordError};
use crate::log::{self, Level};
use crate::store::audit::By;

impl Listener {
    /// Carries out every waiting action. The firewall answers at once, so its outcome may bring
    /// more.
    pub(super) fn run_actions(&mut self) {
        while let Some(action) = self.engine.poll() {
            match action {
                Action::Record(mark) => {
                    if !self.recorder.advance_mark(mark, self.engine.last_grant().0) {
                        let now = self.clock.now();
                        let error = RecordError("the store's thread ended early".to_owned());
                        self.engine.apply_record_outcome(now, Err(error));
                    }
                }
                Action::Open { session, grant } => {
                    let outcome = self.backend.firewall.open(&grant);
                    self.engine.apply_open_outcome(
                        self.clock.now(),
                        session,
                        outcome.map_err(Into::into),
                    );
                }
                Action::Close { session, grants } => {
                    self.telemetry.audit.note_closing(&grants, self.backend.firewall.as_mut());
                    let mut outcome = Ok(grants.clone());
                    for id in grants {
                        match self.backend.firewall.close(id) {
                            Ok(()) => {
                                self.telemetry.audit.note_closed(self.clock.now(), id, By::Client)
                            }
                            Err(error) => outcome = Err(error),
                        }
                    }
                    self.engine.apply_close_outcome(
                        self.clock.now(),
                        session,
                        outcome.map_err(Into::into),
                    );
                }
                Action::Replace { session, keys } => {
                    match self.backend.remote.replace_keys(&keys) {
                        // The answer waits until the device can knock with what it has.
                        Ok(()) => self.replaced.push(session),
                        Err(why) => {
                            log::event(Level::Warn, "not-replaced")
                                .with("client", &keys.client)
                                .with("error", &why)
                                .emit();
                            self.engine.apply_replace_outcome(self.clock.now(), session, Err(why));
                        }
                    }
                }
                Action::ConfirmKeys { client } => {
                    // Until it is done the former keys are good to the end of the overlap, no
                    // longer.
                    if let Err(error) = self.backend.remote.confirm_keys(&client) {
                        log::event(Level::Warn, "former-keys")
                            .with("client", &client)
                            .with("error", error)
                            .emit();
                    }
                }
                Action::NoteServerKey { client, by } => {
                    let at_ms = self.clock.now().unix_ms;
                    if let Some(news) = self.followed.note_client(client, by, at_ms) {
                        self.recorder.write_followed(news);
                    }
                }
                Action::Revoke(revoked) => self.queue_revoked(revoked),
                Action::InSequence { source, ttl } => {
                    // A bait would not spare this source; the knock itself needs no mark.
                    if let Err(error) = self.backend.firewall.in_sequence(source, ttl) {
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
                Action::Log(event) => self.record_event(&event),
            }
        }
    }

    /// A reload is over: whoever enrolled before it can knock now.
    pub(super) fn answer_replaced(&mut self) {
        for session in std::mem::take(&mut self.replaced) {
            self.engine.apply_replace_outcome(self.clock.now(), session, Ok(()));
        }
        self.run_actions();
    }

    /// Tells of an authenticated event, or of an administrator's: the log, and who may ask later.
    pub(super) fn record_event(&mut self, event: &Event) {
        let now = self.clock.now();
        self.telemetry.note_event(now, event);
        log_event(event);
        self.history.note_event(event, now.unix_ms);
    }
}

/// One line for an authenticated event.
fn log_event(event: &Event) {
    let (level, name) = match event.kind {
        EventKind::Granted => (Level::Info, "granted"),
        EventKind::Renewed => (Level::Info, "renewed"),
        EventKind::Closed => (Level::Info, "closed"),
        EventKind::Enrolled => (Level::Info, "enrolled"),
        EventKind::Rekeyed => (Level::Info, "rekeyed"),
        EventKind::Denied => (Level::Warn, "denied"),
        EventKind::Stale => (Level::Warn, "stale"),
        EventKind::Replay => (Level::Warn, "replay"),
        EventKind::OtherSource => (Level::Warn, "other-source"),
        EventKind::BadSignature => (Level::Warn, "bad-signature"),
        EventKind::Failed => (Level::Error, "failed"),
        EventKind::TimedOut => (Level::Info, "timed-out"),
    };
    let line = log::event(level, name)
        .with("client", &event.client)
        .maybe("service", event.service.as_ref())
        .with("source", event.source)
        .maybe("grant", event.grant)
        .maybe("ttl", event.ttl.map(format_seconds))
        .maybe("network", event.network.filter(|network| *network != event.source.into()))
        .maybe("by", event.by);
    // An administrator has no clock of his own.
    let line = if event.by.is_none() { line.number("skew-ms", event.skew_ms) } else { line };
    let reason = (event.reason != Reason::None).then(|| event.reason.word());
    line.maybe("reason", reason).maybe("detail", event.detail.as_ref()).emit();
}

fn format_seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs())
}
