//! A session's last stage, and its claim.

use std::collections::VecDeque;
use std::time::Duration;

use spa_proto::{Op, Reason, SessionId};

use super::completed::{Ask, CompletedSession};
use super::intake::Gated;
use super::pending::AuthenticRequest;
use super::policy_decision::Decision;
use super::settings::ENDED_LIFETIME;
use super::{Action, Engine, EventKind, Now};
use crate::domain::datagram::{Datagram, ReplyPath};

/// Outcome of claiming a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It was never used, and is from now on, whatever happens: it may open.
    Fresh,
    /// It was used before, perhaps at another server.
    Used,
    /// Nobody can say, and why: it must not open.
    Unavailable(String),
}

impl Engine {
    /// Spends a session whose last missing stage came, whatever comes of it.
    pub(super) fn complete_session(&mut self, now: Now, datagram: Datagram<'_>, gated: &Gated) {
        let session = gated.session;
        let Some(pending) = self.pending.remove(&session) else {
            return self.count_internal_error();
        };
        let authentic = pending.into_request();
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
        self.claiming.insert(session, completed);
        self.push_action(Action::Claim { session, ts_ms });
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
            public: *view.public,
            gone: false,
            until: now.mono.saturating_add(ENDED_LIFETIME),
            provisional: opens && !names_address && self.settings.ack,
            authentic,
            ask: Ask { number: 0, reply_path, came_at: now.mono, requested: None },
            waiting: VecDeque::new(),
            verdict: None,
            refused: None,
            confirmed: (0, [0; 8]),
            confirm_answer: None,
            ciphertext: None,
            opened: Vec::new(),
        })
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

    /// Applies the outcome of [`Action::Claim`]. A session that a reload has taken away meanwhile
    /// is no longer there.
    pub fn apply_claim(&mut self, now: Now, session: SessionId, claim: Claim) {
        let Some(completed) = self.claiming.remove(&session) else { return };
        let ts_ms = completed.authentic.request.body.ts_ms;
        match claim {
            // Answered like any copy of a used session: not at all.
            Claim::Used => {
                self.counters.replayed += 1;
                let (peer, skew_ms) = (completed.authentic.peer, completed.authentic.skew_ms(now));
                let source = completed.ask.reply_path.to.ip();
                self.push_copy_event(now, EventKind::Replay, peer, source, skew_ms);
            }
            Claim::Unavailable(detail) => {
                self.fail_session(now, completed, Reason::Store, detail);
            }
            // The client has given up, and its address may be another's by now.
            Claim::Fresh if self.freshness.is_past(ts_ms, &self.settings, now) => {
                let detail = "the replay record took too long".to_owned();
                self.fail_session(now, completed, Reason::Store, detail);
            }
            Claim::Fresh => self.apply_policy(now, completed),
        }
    }

    /// Applies policy. Evaluated when everything else is in place, so that two knocks cannot both
    /// pass a limit of one.
    pub(super) fn apply_policy(&mut self, now: Now, mut completed: CompletedSession) {
        let session = completed.session;
        let action = match self.decide(now, &completed) {
            Err(reason) => return self.deny_session(now, completed, reason),
            Ok(Decision::ConfirmReplaced(ciphertext)) => {
                completed.ciphertext = ciphertext;
                return self.conclude_replaced(now, completed);
            }
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
            Ok(Decision::Replace(keys, ciphertext)) => {
                completed.ciphertext = ciphertext;
                Action::Replace { session, keys }
            }
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
