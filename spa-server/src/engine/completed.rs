//! Completed sessions: what is kept of one while store and firewall work on it, and for a while
//! after, for repeated answers and CONFIRMs.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use spa_proto::{ClientPublic, KemCiphertext, SessionId};

use super::pending::AuthenticRequest;
use super::verdict::Verdict;
use crate::domain::datagram::ReplyPath;
use crate::domain::grant::{Grant, GrantId};

/// Time for which an ended session keeps its keys and answers.
pub(super) const ENDED_LIFETIME: Duration = Duration::from_secs(30);
/// Ended sessions kept per client; the latest.
const MAX_ENDED_PER_CLIENT: usize = 16;

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

    /// Keeps a session; the oldest one of its client makes room.
    pub(super) fn insert(&mut self, completed: CompletedSession) {
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
