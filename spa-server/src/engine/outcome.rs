//! Outcomes of sessions: the answers of firewall and key files, log line and ack.

use std::sync::Arc;
use std::time::Duration;

use spa_proto::{Ack, Op, Reason, ServerKeys, SessionId, Status};

use super::complete::CompletedSession;
use super::pending::AuthenticRequest;
use super::registry::By;
use super::{Action, Engine, Event, EventKind, Now, ReplaceKeysError};
use crate::domain::datagram::{Datagram, ReplyPath};
use crate::domain::grant::{Grant, GrantError, GrantId};

/// Answer to a session, as its ack tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    status: Status,
    reason: Reason,
    /// Seconds that a grant lasts, or that a stale client is to wait.
    ttl_s: u16,
}

impl Verdict {
    fn granted(ttl: Duration) -> Self {
        let ttl_s = u16::try_from(ttl.as_secs()).unwrap_or(u16::MAX);
        Self { status: Status::Granted, reason: Reason::None, ttl_s }
    }

    fn denied(reason: Reason) -> Self {
        Self { status: Status::Denied, reason, ttl_s: 0 }
    }

    fn busy(reason: Reason) -> Self {
        Self { status: Status::Busy, reason, ttl_s: 0 }
    }

    fn stale(reason: Reason, wait_ms: u64) -> Self {
        let wait_s = wait_ms / 1000 + u64::from(wait_ms > 0);
        let ttl_s = u16::try_from(wait_s).unwrap_or(u16::MAX);
        Self { status: Status::Stale, reason, ttl_s }
    }
}

impl Engine {
    /// Applies the outcome of [`Action::Open`].
    pub fn apply_open_outcome(
        &mut self,
        now: Now,
        session: SessionId,
        outcome: Result<(), GrantError>,
    ) {
        let Some(completed) = self.take_completed(session) else { return };
        match (outcome, &completed.requested) {
            (Err(GrantError::Banned), _) => self.deny_session(now, &completed, Reason::Banned),
            (Err(GrantError::Failed(detail)), _) => {
                self.fail_session(now, &completed, Reason::Firewall, detail);
            }
            (Ok(()), None) => self.count_internal_error(),
            (Ok(()), Some(grant)) => {
                let renewed = self.grants.is_live(&grant.client, grant.id, now.mono);
                self.grants.insert_grant(grant, now.mono.saturating_add(grant.ttl));
                self.revoke_if_gone(grant);
                self.counters.granted += 1;
                let kind = if renewed { EventKind::Renewed } else { EventKind::Granted };
                self.conclude_session(now, &completed, kind, Verdict::granted(grant.ttl), None);
            }
        }
    }

    /// Applies the outcome of [`Action::Close`]: the grants that are closed.
    pub fn apply_close_outcome(
        &mut self,
        now: Now,
        session: SessionId,
        outcome: Result<Vec<GrantId>, GrantError>,
    ) {
        if let Ok(ids) = &outcome {
            ids.iter().for_each(|id| self.grants.remove_grant(*id));
        }
        let Some(completed) = self.take_completed(session) else { return };
        match outcome {
            Err(error) => {
                self.fail_session(now, &completed, Reason::Firewall, error.to_string());
            }
            Ok(_) => {
                let verdict = Verdict::granted(Duration::ZERO);
                self.conclude_session(now, &completed, EventKind::Closed, verdict, None);
            }
        }
    }

    /// Applies the outcome of [`Action::Replace`].
    pub fn apply_replace_outcome(
        &mut self,
        now: Now,
        session: SessionId,
        outcome: Result<(), ReplaceKeysError>,
    ) {
        let Some(completed) = self.take_completed(session) else { return };
        match outcome {
            Err(ReplaceKeysError::Refused(_)) => self.deny_session(now, &completed, Reason::Op),
            Err(ReplaceKeysError::Failed(detail)) => {
                self.fail_session(now, &completed, Reason::Store, detail);
            }
            Ok(()) => self.conclude_replaced(now, &completed),
        }
    }

    /// Takes the session that an outcome is about. A session that firewall or key files work on
    /// stays until then, also over a reload: a missing one is an internal error.
    fn take_completed(&mut self, session: SessionId) -> Option<CompletedSession> {
        let completed = self.completed.remove(&session);
        if completed.is_none() {
            self.count_internal_error();
        }
        completed
    }

    pub(super) fn conclude_replaced(&mut self, now: Now, completed: &CompletedSession) {
        let enrolled = matches!(completed.authentic.request.body.op, Op::Enrol(_));
        let kind = if enrolled { EventKind::Enrolled } else { EventKind::Rekeyed };
        self.conclude_session(now, completed, kind, Verdict::granted(Duration::ZERO), None);
    }

    /// Concludes a session that policy refuses.
    pub(super) fn deny_session(&mut self, now: Now, completed: &CompletedSession, reason: Reason) {
        self.counters.denied += 1;
        self.conclude_session(now, completed, EventKind::Denied, Verdict::denied(reason), None);
    }

    /// Concludes a session for which firewall or store failed: no grant, no granted-ack, and the
    /// session stays spent.
    pub(super) fn fail_session(
        &mut self,
        now: Now,
        completed: &CompletedSession,
        reason: Reason,
        detail: String,
    ) {
        self.counters.failed += 1;
        let verdict = Verdict::busy(reason);
        self.conclude_session(now, completed, EventKind::Failed, verdict, Some(detail));
    }

    /// Writes log line and ack.
    fn conclude_session(
        &mut self,
        now: Now,
        completed: &CompletedSession,
        kind: EventKind,
        verdict: Verdict,
        detail: Option<String>,
    ) {
        let body = &completed.authentic.request.body;
        let grant = completed.requested.as_ref().filter(|_| verdict.status == Status::Granted);
        let service = self.registry.find_service(body.service);
        let (client, source) = (Arc::clone(&completed.client), completed.reply_path.to.ip());
        let skew_ms = completed.authentic.skew_ms(now);
        self.push_action(Action::Log(Event {
            service: service.map(|service| Arc::clone(&service.name)),
            asked: (body.ttl_s != 0).then(|| Duration::from_secs(body.ttl_s.into())),
            network: grant.map(Grant::network),
            took: Some(now.mono.saturating_sub(completed.completed_at)),
            grant: grant.map(|grant| grant.id),
            ttl: grant.map(|grant| grant.ttl),
            detail,
            ..Event::new(kind, client, source, skew_ms, verdict.reason)
        }));
        let (session, reply_path) = (completed.session, completed.reply_path);
        self.push_ack(now, session, &completed.authentic, reply_path, verdict);
    }

    /// Refuses a completely verified request whose time stamp may not open: spent, answered,
    /// logged.
    pub(super) fn refuse_stale(
        &mut self,
        now: Now,
        datagram: Datagram<'_>,
        session: SessionId,
        authentic: &AuthenticRequest,
        reason: Reason,
    ) {
        let client = authentic.peer.client;
        let Some(view) = self.registry.client_at(client) else {
            return self.count_internal_error();
        };
        let (key, ts_ms) = (view.public.sign, authentic.request.body.ts_ms);
        let (source, skew_ms) = (datagram.source.ip(), authentic.skew_ms(now));
        self.spend_session(session, key, ts_ms, false, now);
        self.replay_cache.set_home(session, source);
        self.counters.stale += 1;
        // A knock at or below the floor was accepted once, or could have been: whoever holds a copy
        // of it must not learn from an answer that somebody listens here.
        if reason == Reason::Floor || ts_ms <= self.replay_cache.floor_ms(&key) {
            self.replay_cache.note_logged(session);
            self.push_event(EventKind::Replay, client, source, skew_ms, Reason::Floor);
            return;
        }
        self.push_event(EventKind::Stale, client, source, skew_ms, reason);
        // What the fence refuses and was made before this start may be a copy of a knock that
        // opened before it: for the same reason it gets no answer. A live client goes on to
        // a fresh session, and that one gets the ack.
        if ts_ms <= self.fence_ms(now).min(self.started_ms(now)) {
            return;
        }
        let wait_ms = match reason {
            Reason::Fence => self.fence_ms(now).saturating_sub(now.unix_ms),
            _ => 0,
        };
        let verdict = Verdict::stale(reason, wait_ms);
        self.push_ack(now, session, authentic, datagram.reply_path(), verdict);
    }

    fn push_ack(
        &mut self,
        now: Now,
        session: SessionId,
        authentic: &AuthenticRequest,
        reply_path: ReplyPath,
        verdict: Verdict,
    ) {
        if !self.settings.ack || !authentic.request.body.flags.want_ack {
            return;
        }
        let Verdict { status, reason, ttl_s } = verdict;
        let observed = reply_path.to;
        let ack = Ack { status, reason, ttl_s, server_ms: now.unix_ms, observed };
        // Sealed under the key that the client believes in, so the present one is as good as that.
        let sealed = match authentic.peer.by {
            By::Key => authentic.keys.seal_ack(&ack).map(|bytes| bytes.to_vec()),
            By::PreviousKey => {
                let hop = self.settings.sequence.hop_key().cloned();
                let now = ServerKeys { public: *self.registry.public(), hop };
                authentic.keys.seal_ack_and_keys(&ack, &now).map(|bytes| bytes.to_vec())
            }
        };
        // Without random bytes there is no ack; the grant stands, and the client finds the service
        // open.
        if let Ok(bytes) = sealed {
            self.replay_cache.cache_ack(session, observed.ip(), bytes.clone());
            self.push_action(Action::Ack { reply_path, bytes });
        }
    }
}
