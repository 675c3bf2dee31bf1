//! Datagrams of sessions that are over: repeated last stages, and CONFIRMs.

use std::net::IpAddr;

use spa_proto::{Confirm, Reason, SessionId};

use super::completed::{Ask, CompletedSession};
use super::intake::Gated;
use super::verdict::Verdict;
use super::{Action, Engine, Now};
use crate::domain::datagram::{Datagram, ReplyPath};

impl Engine {
    /// Answers a datagram of an ended session; false: there is no such session.
    pub(super) fn answer_ended(&mut self, now: Now, datagram: Datagram<'_>, gated: &Gated) -> bool {
        let Some(ended) = self.ended.get(gated.session) else { return false };
        if ended.until <= now.mono {
            return false;
        }
        if !ended.may_end(datagram, gated, &self.settings) {
            self.counters.ignored += 1;
        } else if ended.is_last_stage(datagram, gated, &self.settings) {
            self.repeat_answer(now, gated.session, datagram.reply_path());
        } else if let Some(confirm) = ended.authentic.keys.open_confirm(datagram.payload) {
            self.take_confirm(now, datagram, gated, confirm);
        } else {
            self.counters.replayed += 1;
        }
        true
    }

    /// Answers a last stage that came again: to the source that it came from, with what a CONFIRM
    /// from there would get. There is no quota, which copies would eat; an answer is shorter than
    /// what it answers.
    fn repeat_answer(&mut self, now: Now, session: SessionId, reply_path: ReplyPath) {
        let source = reply_path.to.ip();
        let Some(ended) = self.ended.get(session) else { return };
        let refused = ended.refused.filter(|(refused, _)| *refused == source);
        let undecided = ended.verdict.is_none() && refused.is_none();
        if undecided || self.admits_source(ended, source) {
            return self.decide_again(now, session, reply_path);
        }
        self.counters.ignored += 1;
        let verdict = match (refused, ended.verdict) {
            (Some((_, verdict)), _) => verdict,
            (None, Some(verdict)) if ended.provisional && verdict.is_granted() => {
                match self.decide_for_source(now, ended, source) {
                    Ok(ttl) => Verdict::provisional(ttl),
                    Err(reason) => Verdict::denied(reason),
                }
            }
            (None, Some(verdict)) => verdict,
            (None, None) => return,
        };
        if let Some(bytes) = self.seal_answer(now, ended, verdict, 0, reply_path.to) {
            self.push_action(Action::Ack { reply_path, bytes });
        }
    }

    /// Answers the sources whose last stage came while another's was being decided.
    pub(super) fn answer_waiting(&mut self, now: Now, session: SessionId) {
        while let Some(reply_path) = self.ended.next_waiting(session) {
            self.repeat_answer(now, session, reply_path);
        }
    }

    /// Decides a complete session anew, for another source.
    fn decide_again(&mut self, now: Now, session: SessionId, reply_path: ReplyPath) {
        let Some(mut completed) = self.ended.take(session) else { return };
        completed.ask = Ask { number: 0, reply_path, came_at: now.mono, requested: None };
        self.apply_policy(now, completed);
    }

    /// A CONFIRM of an ended session.
    fn take_confirm(&mut self, now: Now, datagram: Datagram<'_>, gated: &Gated, confirm: Confirm) {
        let source = datagram.source.ip();
        let Some(ended) = self.ended.get(gated.session) else { return };
        let (last, mac) = ended.confirmed;
        let is_repeated = confirm.number == last && gated.mac == mac;
        if is_repeated && let Some(bytes) = ended.confirm_answer.clone() {
            self.counters.ignored += 1;
            return self.push_action(Action::Ack { reply_path: datagram.reply_path(), bytes });
        }
        // From elsewhere it is ignored, not answered: a relay would take the answer to the client
        // and steer it.
        if !self.settings.ack
            || !is_confirmable(ended)
            || confirm.number <= last
            || !is_source(&confirm, source)
        {
            self.counters.ignored += 1;
            return;
        }
        let Some(mut completed) = self.ended.take(gated.session) else { return };
        completed.confirmed = (confirm.number, gated.mac);
        completed.confirm_answer = None;
        completed.ask = Ask {
            number: confirm.number,
            reply_path: datagram.reply_path(),
            came_at: now.mono,
            requested: None,
        };
        self.counters.confirms += 1;
        self.apply_policy(now, completed);
    }

    /// Refuses a completely verified request whose time stamp may not open: used, answered, logged.
    pub(super) fn refuse_stale(
        &mut self,
        now: Now,
        datagram: Datagram<'_>,
        session: SessionId,
        authentic: super::pending::AuthenticRequest,
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
        self.push_event(super::EventKind::Stale, client, source, skew_ms, reason);
        let wait_ms = match reason {
            Reason::Fence => self.fence_ms(now).saturating_sub(now.unix_ms),
            Reason::Floor => self.replay_cache.floor_ms(&key).saturating_sub(now.unix_ms),
            _ => 0,
        };
        let reply_path = datagram.reply_path();
        if let Some(mut ended) = self.end_session(now, session, authentic, reply_path) {
            let verdict = Verdict::stale(reason, wait_ms);
            ended.verdict = Some(verdict);
            self.push_answer(now, &ended, verdict);
            self.ended.insert(ended);
        }
    }
}

/// Tells whether the session's grant can be confirmed.
fn is_confirmable(ended: &CompletedSession) -> bool {
    let granted = ended.verdict.is_some_and(|verdict| verdict.is_granted());
    ended.provisional && granted && ended.authentic.request.body.flags.want_ack
}

fn is_source(confirm: &Confirm, source: IpAddr) -> bool {
    confirm.address == source.to_canonical()
}
