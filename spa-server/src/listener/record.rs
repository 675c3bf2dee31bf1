//! Record of the running server: what authenticated events leave in log, audit record, figures and
//! memory.

use std::time::Duration;

use spa_keys::Fingerprint;
use spa_proto::Reason;

use super::audit::AuditRecorder;
use super::history::History;
use crate::config::Config;
use crate::domain::grant::Grant;
use crate::engine::{Event, EventKind, Now};
use crate::firewall::{Firewall, LiveGrant};
use crate::log::{self, Level};
use crate::metrics::Tally;

/// Everything that an event leaves behind.
pub(super) struct EventRecord {
    audit: AuditRecorder,
    tally: Tally,
    history: History,
}

impl EventRecord {
    /// Begins a record. `live`: what the kernel has open at this start.
    pub(super) fn start(config: &Config, live: &[LiveGrant], now: Now) -> std::io::Result<Self> {
        Ok(Self {
            audit: AuditRecorder::start(&config.server.state, config.audit, live, now)?,
            tally: Tally::default(),
            history: History::default(),
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
        log_event(event);
        self.history.note_event(event, now.unix_ms);
    }

    /// Grants of before and now, on the disk.
    pub(super) fn audit(&mut self) -> &mut AuditRecorder {
        &mut self.audit
    }

    /// Audit entries lost since the start.
    pub(super) fn lost_entries(&self) -> u64 {
        self.audit.lost_entries()
    }

    /// Counts since the start.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Counts since the start, to be counted on.
    pub(super) fn tally_mut(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// Outcomes of clients' knocks.
    pub(super) fn history(&self) -> &History {
        &self.history
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

/// One line for an authenticated event.
fn log_event(event: &Event) {
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
    line.maybe("reason", reason).maybe("detail", event.detail.as_ref()).emit();
}

fn format_seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs())
}
