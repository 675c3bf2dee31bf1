//! Completed sessions: what is kept of one while store and firewall work on it, and for a while
//! after, for repeated answers and CONFIRMs.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use spa_proto::{ClientPublic, KemCiphertext, SessionId};

use super::intake::Gated;
use super::pending::{AuthenticRequest, open_stage};
use super::settings::Settings;
use super::verdict::Verdict;
use crate::domain::datagram::{Datagram, ReplyPath};
use crate::domain::grant::{Grant, GrantId};

/// Ended sessions kept per client; the latest.
const MAX_ENDED_PER_CLIENT: usize = 16;
/// Sources that wait for one decision; the latest.
const MAX_WAITING: usize = 16;

/// The question that store, firewall or key files answer: the knock itself or a CONFIRM.
pub(super) struct Ask {
    /// 0: the knock; else the number of the CONFIRM.
    pub(super) number: u8,
    /// Path of the answer.
    pub(super) reply_path: ReplyPath,
    /// Monotonic time at which the datagram came.
    pub(super) came_at: Duration,
    /// Grant that the firewall has been asked for.
    pub(super) requested: Option<Grant>,
}

/// Session whose last missing stage has come.
pub(super) struct CompletedSession {
    /// Id of the session.
    pub(super) session: SessionId,
    /// Request and session keys.
    pub(super) authentic: AuthenticRequest,
    /// Name of the client.
    pub(super) client: Arc<str>,
    /// Public keys that it came by.
    pub(super) public: ClientPublic,
    /// A reload has taken its client or the server's key away: nothing is kept of it.
    pub(super) gone: bool,
    /// When it is forgotten, on the monotonic clock.
    pub(super) until: Duration,
    /// Set while its grant is for whoever confirms it.
    pub(super) provisional: bool,
    /// The question that is being decided.
    pub(super) ask: Ask,
    /// Other sources whose last stage came while that question was being decided.
    pub(super) waiting: VecDeque<ReplyPath>,
    /// Answer to the knock; `None` while only sources have been refused.
    pub(super) verdict: Option<Verdict>,
    /// The last source that was refused for what it is, and why.
    pub(super) refused: Option<(IpAddr, Verdict)>,
    /// Number and mac of the last CONFIRM that counted, and its answer.
    pub(super) confirmed: (u8, [u8; 8]),
    /// Sealed answer to that CONFIRM.
    pub(super) confirm_answer: Option<Vec<u8>>,
    /// Ciphertext that makes the new psk, in a granted answer.
    pub(super) ciphertext: Option<KemCiphertext>,
    /// Grants that it opened, and for whom.
    pub(super) opened: Vec<(GrantId, IpAddr)>,
}

impl CompletedSession {
    /// Tells whether this is the session's last stage, from where it may come.
    pub(super) fn is_last_stage(
        &self,
        datagram: Datagram<'_>,
        gated: &Gated,
        settings: &Settings,
    ) -> bool {
        let kem_stages = settings.kem_stages();
        self.may_end(datagram, gated, settings)
            && open_stage(&self.authentic.keys, datagram, gated.epoch, gated.stage, kem_stages)
                .is_ok_and(|(request, _)| request.same_as(&self.authentic.request))
    }

    /// Tells whether last stages and CONFIRMs of this session come so: by their tag, and from
    /// where.
    pub(super) fn may_end(
        &self,
        datagram: Datagram<'_>,
        gated: &Gated,
        settings: &Settings,
    ) -> bool {
        gated.stage + 1 == settings.sequence.stages()
            && gated.epoch == self.authentic.epoch
            && !self.authentic.is_bound_elsewhere(datagram.source.ip())
    }

    /// Keeps a source that is to be answered after the present decision. A copier that is faster
    /// than the client gets the decision; without this the client would hear nothing of it.
    pub(super) fn await_decision(&mut self, reply_path: ReplyPath) {
        if self.ask.reply_path.to == reply_path.to {
            return;
        }
        self.waiting.retain(|waiting| waiting.to != reply_path.to);
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(reply_path);
    }
}

/// Sessions that are over but for repeated answers and CONFIRMs.
#[derive(Default)]
pub(super) struct EndedSessions {
    sessions: HashMap<SessionId, CompletedSession>,
    /// Oldest first.
    of_client: HashMap<Arc<str>, VecDeque<SessionId>>,
}

impl EndedSessions {
    /// Finds a session that has ended.
    pub(super) fn get(&self, session: SessionId) -> Option<&CompletedSession> {
        self.sessions.get(&session)
    }

    /// Takes the source that has waited longest for an answer.
    pub(super) fn next_waiting(&mut self, session: SessionId) -> Option<ReplyPath> {
        self.sessions.get_mut(&session)?.waiting.pop_front()
    }

    /// Keeps a session; the oldest one of its client makes room. Returns true if sources wait for
    /// an answer.
    pub(super) fn insert(&mut self, completed: CompletedSession) -> bool {
        let waits = !completed.waiting.is_empty();
        let (session, client) = (completed.session, Arc::clone(&completed.client));
        let of = self.of_client.entry(client).or_default();
        if !of.contains(&session) {
            of.push_back(session);
        }
        let evicted = if of.len() > MAX_ENDED_PER_CLIENT { of.pop_front() } else { None };
        self.sessions.insert(session, completed);
        if let Some(evicted) = evicted {
            self.sessions.remove(&evicted);
        }
        waits
    }

    /// Takes a session out, to be decided anew; [`EndedSessions::insert`] puts it back.
    pub(super) fn take(&mut self, session: SessionId) -> Option<CompletedSession> {
        self.sessions.remove(&session)
    }

    /// Forgets what is too old.
    pub(super) fn expire(&mut self, now: Duration) {
        self.sessions.retain(|_, completed| completed.until > now);
        self.forget_missing();
    }

    /// Keeps the sessions for which `keep` says so.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut CompletedSession) -> bool) {
        self.sessions.retain(|_, completed| keep(completed));
        self.forget_missing();
    }

    fn forget_missing(&mut self) {
        let sessions = &self.sessions;
        self.of_client.retain(|_, of| {
            of.retain(|session| sessions.contains_key(session));
            !of.is_empty()
        });
    }
}
