//! Record of the running server: what authenticated events leave in log, audit record, figures and
//! memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use spa_keys::Fingerprint;
use spa_proto::Reason;

use super::audit::AuditRecorder;
use super::history::History;
use crate::config::Config;
use crate::domain::grant::Grant;
use crate::engine::{Event, EventKind, Now};
use crate::firewall::{Firewall, LiveGrant};
use crate::log::{self, Level, LineBudget};
use crate::metrics::Tally;

/// Time between two looks at whose lines were left out.
const LEFT_OUT_INTERVAL: Duration = Duration::from_secs(60);

/// Who causes a line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum LineCause {
    Client(Arc<str>),
    User(u32),
}

/// Everything that an event leaves behind.
pub(super) struct EventRecord {
    /// Grants of before and now, on the disk.
    pub(super) audit: AuditRecorder,
    /// Counts since the start.
    pub(super) tally: Tally,
    /// Outcomes of clients' knocks.
    pub(super) history: History,
    lines: HashMap<LineCause, LineBudget>,
    /// When it is time to look whose lines were left out, monotonic.
    look: Duration,
}

impl EventRecord {
    /// Begins a record. `live`: what the kernel has open at this start.
    pub(super) fn start(config: &Config, live: &[LiveGrant], now: Now) -> std::io::Result<Self> {
        Ok(Self {
            audit: AuditRecorder::start(&config.server.state, config.audit, live, now)?,
            tally: Tally::default(),
            history: History::default(),
            lines: HashMap::new(),
            look: now.mono + LEFT_OUT_INTERVAL,
        })
    }

    /// Takes in an authenticated event, or an administrator's.
    pub(super) fn record_event(&mut self, now: Now, event: &Event) {
        // What an administrator does is no knock.
        if event.by.is_none() {
            self.tally.event(event, now.unix_ms);
        }
        if matches!(event.kind, EventKind::Granted | EventKind::Renewed) {
            self.audit.note_opened(now, event);
        }
        if let Some(left_out) = self.take_line(now, event) {
            log_event(event, left_out);
        }
        self.history.note_event(event, now.unix_ms);
    }

    /// Takes a line of whoever has caused the event; how many were left out before it. Root has as
    /// many as it likes.
    fn take_line(&mut self, now: Now, event: &Event) -> Option<u64> {
        let peer = match event.by {
            Some(0) => return Some(0),
            Some(uid) => LineCause::User(uid),
            None => LineCause::Client(Arc::clone(&event.client)),
        };
        let lines = self.lines.entry(peer).or_insert_with(|| LineBudget::of_peer(now.mono));
        let taken = lines.take_line(now.mono);
        self.tally.lines_left_out += u64::from(taken.is_none());
        taken
    }

    /// Once a second: tells whose lines were left out, once a minute each at most.
    pub(super) fn report_left_out(&mut self, now: Now) {
        if now.mono < self.look {
            return;
        }
        self.look = now.mono + LEFT_OUT_INTERVAL;
        for (peer, lines) in &mut self.lines {
            if lines.left_out() > 0
                && let Some(left_out) = lines.take_line(now.mono)
            {
                let line = log::event(Level::Warn, "lines-left-out").left_out(left_out);
                match peer {
                    LineCause::Client(client) => line.with("client", client).emit(),
                    LineCause::User(uid) => line.number("by", *uid).emit(),
                }
            }
        }
        self.lines.retain(|_, lines| !lines.is_unused(now.mono));
    }

    /// Ends the audit record cleanly.
    pub(super) fn stop(self, firewall: &mut dyn Firewall) {
        self.audit.stop(firewall);
    }
}

/// Event of a grant that an administrator opens or closes.
pub(super) fn admin_event(kind: EventKind, grant: &Grant, by: u32) -> Event {
    Event {
        kind,
        client: grant.client.clone(),
        service: Some(grant.service.clone()),
        source: grant.source,
        skew_ms: 0,
        reason: Reason::None,
        grant: Some(grant.id),
        asked: None,
        network: Some(grant.network()),
        took: None,
        ttl: (kind != EventKind::Closed).then_some(grant.ttl),
        keys: None,
        detail: None,
        by: Some(by),
    }
}

/// One line for an authenticated event, and how many were left out before it.
fn log_event(event: &Event, left_out: u64) {
    let (level, name) = match event.kind {
        EventKind::Provisional => (Level::Info, "provisional"),
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
        EventKind::OverBudget => (Level::Warn, "over-budget"),
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
    let (old, new) = (event.keys.and_then(|keys| keys.old), event.keys.map(|keys| keys.new));
    let line = line
        .maybe("old-key", old.map(|key| Fingerprint::from(&key)))
        .maybe("old-kind", old.map(|key| key.kind.word()))
        .maybe("new-key", new.map(|key| Fingerprint::from(&key)))
        .maybe("new-kind", new.map(|key| key.kind.word()));
    let reason = (event.reason != Reason::None).then(|| event.reason.word());
    line.maybe("reason", reason).maybe("detail", event.detail.as_ref()).left_out(left_out).emit();
}

fn format_seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs())
}
