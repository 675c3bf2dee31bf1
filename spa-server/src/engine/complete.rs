//! A session's last stage, and what waits for the store.

use std::time::Duration;

use spa_proto::{Op, Reason, SessionId};

use super::completed::{Ask, CompletedSession, ENDED_LIFETIME};
use super::intake::Gated;
use super::pending::AuthenticRequest;
use super::policy_decision::Decision;
use super::{Action, Engine, Now};
use crate::domain::datagram::{Datagram, ReplyPath};

/// Failure of the store to make a mark durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RecordError(pub String);

impl Engine {
    /// Spends a session whose last missing stage came, whatever comes of it.
    pub(super) fn complete_session(&mut self, now: Now, datagram: Datagram<'_>, gated: &Gated) {
        let session = gated.session;
        let Some(pending) = self.pending.remove(&session) else {
            return self.count_internal_error();
        };
        let authentic = pending.authentic;
        let Some(view) = self.registry.client_at(authentic.peer.client) else {
            return self.count_internal_error();
        };
        let client_key = view.public.sign;
        let ts_ms = authentic.request.body.ts_ms;
        // Anew, because the window, the clock or another session's eviction may have moved since
        // the first stage.
        if let Err(reason) = self.check_fresh(&client_key, ts_ms, now) {
            return self.refuse_stale(now, datagram, session, authentic, reason);
        }
        self.spend_session(session, client_key, ts_ms, true, now);
        if self.registry.previous().is_some() {
            let by = authentic.peer.by;
            self.push_action(Action::NoteServerKey { client: client_key, by });
        }
        self.replay_cache.set_home(session, datagram.source.ip());
        let Some(completed) = self.end_session(now, session, authentic, datagram.reply_path())
        else {
            return;
        };
        self.decide_when_durable(now, completed);
    }

    /// Makes what is kept of a session whose stages are over; `None` is an internal error.
    pub(super) fn end_session(
        &mut self,
        now: Now,
        session: SessionId,
        authentic: AuthenticRequest,
        reply_path: ReplyPath,
    ) -> Option<CompletedSession> {
        let Some(view) = self.registry.client_at(authentic.peer.client) else {
            self.count_internal_error();
            return None;
        };
        let body = &authentic.request.body;
        let opens = matches!(body.op, Op::Open | Op::Renew);
        let names_address = body.bind_src.is_some() || body.for_addr.is_some();
        Some(CompletedSession {
            session,
            client: view.name.into(),
            gone: false,
            until: now.mono.saturating_add(ENDED_LIFETIME),
            provisional: opens && !names_address && self.settings.ack,
            authentic,
            ask: Ask { number: 0, reply_path, came_at: now.mono, requested: None },
            verdict: None,
            refused: None,
            confirmed: (0, [0; 8]),
            confirm_answer: None,
            opened: Vec::new(),
        })
    }

    /// Decides a request as soon as the store refuses its time stamp for ever.
    pub(super) fn decide_when_durable(&mut self, now: Now, completed: CompletedSession) {
        if self.freshness.is_durable(completed.authentic.request.body.ts_ms) {
            self.apply_policy(now, completed);
        } else {
            self.wait_for_mark(completed);
        }
    }

    /// Checks a time stamp against window, fence and the client's floor.
    pub(super) fn check_fresh(
        &self,
        client_key: &[u8; 32],
        ts_ms: u64,
        now: Now,
    ) -> Result<(), Reason> {
        let floor_ms = self.replay_cache.floor_ms(client_key);
        self.freshness.check_timestamp(ts_ms, floor_ms, &self.settings, now)
    }

    /// Asks the store for a mark that covers a time stamp, unless a write is under way.
    pub(super) fn request_mark(&mut self, ts_ms: u64) {
        if let Some(mark) = self.freshness.mark_to_write(ts_ms) {
            self.push_action(Action::Record(mark));
        }
    }

    fn wait_for_mark(&mut self, completed: CompletedSession) {
        let ts_ms = completed.authentic.request.body.ts_ms;
        self.waiting_for_mark.push(completed);
        self.request_mark(ts_ms);
    }

    /// Tells whether a session waits for the store.
    pub(super) fn is_waiting(&self, session: SessionId) -> bool {
        self.waiting_for_mark.iter().any(|waiting| waiting.session == session)
    }

    /// Applies the outcome of [`Action::Record`]: the mark that is durable now, unix ms.
    pub fn apply_record_outcome(&mut self, now: Now, outcome: Result<u64, RecordError>) {
        self.freshness.note_written(outcome.as_ref().ok().copied());
        for completed in std::mem::take(&mut self.waiting_for_mark) {
            let ts_ms = completed.authentic.request.body.ts_ms;
            if let Err(RecordError(detail)) = &outcome {
                self.fail_session(now, completed, Reason::Store, detail.clone());
            } else if self.freshness.is_past(ts_ms, &self.settings, now) {
                // The disk was stuck. The client has given up, and its address may be another's by
                // now.
                let detail = "the replay record took too long".to_owned();
                self.fail_session(now, completed, Reason::Store, detail);
            } else {
                self.decide_when_durable(now, completed);
            }
        }
    }

    /// Applies policy. Evaluated when everything else is in place, so that two knocks cannot both
    /// pass a limit of one.
    pub(super) fn apply_policy(&mut self, now: Now, mut completed: CompletedSession) {
        let session = completed.session;
        let action = match self.decide(now, &completed) {
            Err(reason) => return self.deny_session(now, completed, reason),
            Ok(Decision::ConfirmReplaced) => return self.conclude_replaced(now, completed),
            Ok(Decision::AwaitConfirm(ttl)) => return self.await_confirm(now, completed, ttl),
            Ok(Decision::Open(grant)) => {
                let ends = completed.opened.iter().map(|(id, _)| *id);
                let ends = if completed.ask.number == 0 {
                    Vec::new()
                } else {
                    ends.filter(|id| *id != grant.id).collect()
                };
                completed.ask.requested = Some(grant.clone());
                Action::Open { session, grant, ends }
            }
            Ok(Decision::Close(grants)) => Action::Close { session, grants },
            Ok(Decision::Replace(keys)) => Action::Replace { session, keys },
        };
        self.working.insert(session, completed);
        self.push_action(action);
    }

    /// Takes the session that an outcome is about. A session that firewall or key files work on
    /// stays until then, also over a reload: a missing one is an internal error.
    pub(super) fn take_working(&mut self, session: SessionId) -> Option<CompletedSession> {
        let completed = self.working.remove(&session);
        if completed.is_none() {
            self.count_internal_error();
        }
        completed
    }

    /// Time from the datagram that is answered to now.
    pub(super) fn time_taken(now: Now, completed: &CompletedSession) -> Duration {
        now.mono.saturating_sub(completed.ask.came_at)
    }
}
