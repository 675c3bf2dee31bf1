//! Outcomes of sessions: the answers of firewall and key files, log line and answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use spa_proto::{Ack, Op, Reason, ServerKeys, SessionId};

use super::action::ClientKeyChange;
use super::completed::CompletedSession;
use super::policy_decision::depends_on_source;
use super::verdict::Verdict;
use super::{Action, Engine, Event, EventKind, Now, ReplaceKeysError};
use crate::domain::grant::{Grant, GrantError, GrantId};
use crate::domain::server_key::ServerKeyVersion;

impl Engine {
    /// Applies the outcome of [`Action::Open`].
    pub fn apply_open_outcome(
        &mut self,
        now: Now,
        session: SessionId,
        outcome: Result<(), GrantError>,
    ) {
        let Some(mut completed) = self.take_working(session) else { return };
        let grant = match (outcome, completed.ask.requested.take()) {
            (Err(GrantError::Banned), _) => {
                return self.deny_session(now, completed, Reason::Banned);
            }
            (Err(GrantError::Failed(detail)), _) => {
                return self.fail_session(now, completed, Reason::Firewall, detail);
            }
            (Ok(()), None) => return self.count_internal_error(),
            (Ok(()), Some(grant)) => grant,
        };
        let renewed = self.grants.is_lasting(&grant.client, grant.id, now.mono);
        if completed.ask.number > 0 {
            for (id, _) in std::mem::take(&mut completed.opened) {
                if id != grant.id {
                    self.grants.remove_grant(&grant.client, id);
                }
            }
        }
        // A second source of a server that never answers is let in beside the first, counted once.
        let counted = completed.opened.iter().all(|(id, _)| *id == grant.id);
        self.grants.insert_grant(&grant, now.mono.saturating_add(grant.ttl), counted);
        self.revoke_if_gone(&grant);
        completed.opened.retain(|(id, _)| *id != grant.id);
        completed.opened.push((grant.id, grant.source));
        let (kind, verdict) = if grant.provisional {
            let ttl = self.decide_for_source(now, &completed, grant.source).unwrap_or(grant.ttl);
            // Without acks wanted there is nothing to confirm, and this is all there will be.
            (EventKind::Provisional, Verdict::provisional(ttl))
        } else {
            self.counters.granted += 1;
            self.note_home(now, &completed, completed.ask.reply_path.to.ip());
            let kind = if renewed { EventKind::Renewed } else { EventKind::Granted };
            (kind, Verdict::granted(grant.ttl))
        };
        completed.ask.requested = Some(grant);
        self.conclude_session(now, completed, kind, verdict, None);
    }

    /// A knock for which something is open already, or that opens nothing before its CONFIRM.
    pub(super) fn await_confirm(&mut self, now: Now, completed: CompletedSession, ttl: Duration) {
        let verdict = Verdict::provisional(ttl);
        self.conclude_session(now, completed, EventKind::Provisional, verdict, None);
    }

    /// Applies the outcome of [`Action::Close`]: the grants that are closed.
    pub fn apply_close_outcome(
        &mut self,
        now: Now,
        session: SessionId,
        outcome: Result<Vec<GrantId>, GrantError>,
    ) {
        let Some(completed) = self.take_working(session) else {
            // Somebody else has closed them.
            return self.forget(&outcome.unwrap_or_default().into_iter().collect());
        };
        if let Ok(ids) = &outcome {
            ids.iter().for_each(|id| self.grants.remove_grant(&completed.client, *id));
        }
        match outcome {
            Err(error) => {
                self.fail_session(now, completed, Reason::Firewall, error.to_string());
            }
            Ok(_) => {
                let verdict = Verdict::granted(Duration::ZERO);
                self.conclude_session(now, completed, EventKind::Closed, verdict, None);
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
        let Some(completed) = self.take_working(session) else { return };
        match outcome {
            Err(ReplaceKeysError::Refused(_)) => self.deny_session(now, completed, Reason::Op),
            Err(ReplaceKeysError::Failed(detail)) => {
                self.fail_session(now, completed, Reason::Store, detail);
            }
            Ok(()) => self.conclude_replaced(now, completed),
        }
    }

    /// Ends a session whose new keys are in the key files.
    pub(super) fn conclude_replaced(&mut self, now: Now, completed: CompletedSession) {
        let enrolled = matches!(completed.authentic.request.body.op, Op::Enrol(_));
        let kind = if enrolled { EventKind::Enrolled } else { EventKind::Rekeyed };
        self.conclude_session(now, completed, kind, Verdict::granted(Duration::ZERO), None);
    }

    /// Concludes a session that policy refuses. A refusal because of the source decides nothing
    /// about the knock.
    pub(super) fn deny_session(
        &mut self,
        now: Now,
        mut completed: CompletedSession,
        reason: Reason,
    ) {
        self.counters.denied += 1;
        let verdict = Verdict::denied(reason);
        if completed.ask.number == 0 && completed.verdict.is_none() && depends_on_source(reason) {
            completed.refused = Some((completed.ask.reply_path.to.ip(), verdict));
        }
        completed.ask.requested = None;
        self.conclude_session(now, completed, EventKind::Denied, verdict, None);
    }

    /// Concludes a session for which firewall or store failed: no grant, no granted-ack, and the
    /// session stays used.
    pub(super) fn fail_session(
        &mut self,
        now: Now,
        mut completed: CompletedSession,
        reason: Reason,
        detail: String,
    ) {
        self.counters.failed += 1;
        completed.ask.requested = None;
        let verdict = Verdict::busy(reason);
        self.conclude_session(now, completed, EventKind::Failed, verdict, Some(detail));
    }

    /// Answers, writes the log line, and keeps what a repetition is to hear.
    fn conclude_session(
        &mut self,
        now: Now,
        mut completed: CompletedSession,
        kind: EventKind,
        verdict: Verdict,
        detail: Option<String>,
    ) {
        // The client waits; log and audit record do not.
        let bytes = self.push_answer(now, &completed, verdict);
        self.log_outcome(now, &completed, kind, verdict, detail);
        let source = completed.ask.reply_path.to.ip();
        let refused_here = completed.refused.is_some_and(|(refused, _)| refused == source);
        if completed.ask.number > 0 {
            completed.confirm_answer = bytes;
        } else if completed.verdict.is_none() && !refused_here {
            completed.verdict = Some(verdict);
        }
        completed.ask.requested = None;
        if !completed.gone {
            let session = completed.session;
            if self.ended.insert(completed) {
                self.answer_waiting(now, session);
            }
        }
    }

    fn log_outcome(
        &mut self,
        now: Now,
        completed: &CompletedSession,
        kind: EventKind,
        verdict: Verdict,
        detail: Option<String>,
    ) {
        let peer = completed.authentic.peer;
        let by_copies = kind == EventKind::Provisional
            || (kind == EventKind::Denied && depends_on_source(verdict.reason));
        if by_copies {
            let active = self.cache.active_client(&self.registry, peer, now.mono);
            if !active.is_some_and(|active| active.may_log(now.mono)) {
                return;
            }
        }
        let body = &completed.authentic.request.body;
        let grant = completed.ask.requested.as_ref().filter(|_| verdict.is_granted());
        let service = self.registry.find_service(body.service);
        let (client, source) = (Arc::clone(&completed.client), completed.ask.reply_path.to.ip());
        let skew_ms = completed.authentic.skew_ms(now);
        self.push_action(Action::Log(Event {
            service: service.map(|service| Arc::clone(&service.name)),
            asked: (body.ttl_s != 0).then(|| Duration::from_secs(body.ttl_s.into())),
            network: grant.map(Grant::network),
            took: Some(Self::time_taken(now, completed)),
            grant: grant.map(|grant| grant.id),
            ttl: grant.map(|grant| grant.ttl),
            keys: body.op.new_keys().map(|new| ClientKeyChange {
                old: matches!(body.op, Op::Rekey(_)).then_some(completed.public),
                new,
            }),
            detail,
            ..Event::new(kind, client, source, skew_ms, verdict.reason)
        }));
    }

    /// Sends the answer to the datagram that is being decided; the bytes, when it wants one.
    pub(super) fn push_answer(
        &mut self,
        now: Now,
        completed: &CompletedSession,
        verdict: Verdict,
    ) -> Option<Vec<u8>> {
        let (number, reply_path) = (completed.ask.number, completed.ask.reply_path);
        let bytes = self.seal_answer(now, completed, verdict, number, reply_path.to)?;
        self.push_action(Action::Ack { reply_path, bytes: bytes.clone() });
        Some(bytes)
    }

    /// Seals an answer; `None` when nobody wants one.
    pub(super) fn seal_answer(
        &self,
        now: Now,
        completed: &CompletedSession,
        verdict: Verdict,
        number: u8,
        observed: SocketAddr,
    ) -> Option<Vec<u8>> {
        let authentic = &completed.authentic;
        if !self.settings.ack || !authentic.request.body.flags.want_ack {
            return None;
        }
        let Verdict { status, reason, ttl_s, provisional } = verdict;
        let ack = Ack {
            status,
            reason,
            ttl_s,
            server_ms: now.unix_ms,
            observed,
            number,
            provisional,
            rekey_wanted: verdict.is_granted() && self.wants_new_keys(now, completed),
        };
        // Sealed under the key that the client believes in, so the present one is as good as that.
        let keys = (authentic.peer.by == ServerKeyVersion::PreviousKey).then(|| ServerKeys {
            public: *self.registry.public(),
            hop: self.settings.sequence.hop_key().cloned(),
        });
        let ciphertext = completed.ciphertext.as_ref().filter(|_| verdict.is_granted());
        Some(authentic.keys.seal_answer(&ack, keys.as_ref(), ciphertext))
    }

    /// Remembers where a client was let in, by a bound or a confirmed knock.
    fn note_home(&mut self, now: Now, completed: &CompletedSession, source: IpAddr) {
        let peer = completed.authentic.peer;
        let bound = completed.authentic.request.body.bind_src.is_some();
        if (bound || completed.ask.number > 0)
            && !completed.gone
            && let Some(active) = self.cache.active_client(&self.registry, peer, now.mono)
        {
            active.note_home(source, now.mono);
        }
    }
}
