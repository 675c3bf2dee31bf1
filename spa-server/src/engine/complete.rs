//! Completed sessions: durable record, policy, and the request to firewall or key files.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use spa_proto::{Op, Reason, SessionId};

use super::action::KeyReplacement;
use super::pending::AuthenticRequest;
use super::{Action, Engine, Now};
use crate::domain::datagram::{Datagram, ReplyPath};
use crate::domain::grant::{Grant, GrantId};

/// Session whose last missing stage has come. It waits for the store, the firewall or the key
/// files.
pub(super) struct CompletedSession {
    /// Id of the session.
    pub(super) session: SessionId,
    /// Request and session keys.
    pub(super) authentic: AuthenticRequest,
    /// Name of the client.
    pub(super) client: Arc<str>,
    /// Path of the ack.
    pub(super) reply_path: ReplyPath,
    /// Monotonic time at which the last stage came.
    pub(super) completed_at: Duration,
    /// Grant that the firewall has been asked for.
    pub(super) requested: Option<Grant>,
}

/// Action that policy allows.
pub(super) enum Decision {
    /// Opens a grant.
    Open(Grant),
    /// Closes grants.
    Close(Vec<GrantId>),
    /// Replaces keys.
    Replace(KeyReplacement),
    /// Confirms keys that an earlier session has replaced; its ack was lost.
    ConfirmReplaced,
}

/// Failure of the store to make a mark durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RecordError(pub String);

impl Engine {
    /// Spends a session whose last missing stage came, whatever comes of it.
    pub(super) fn complete_session(
        &mut self,
        now: Now,
        datagram: Datagram<'_>,
        session: SessionId,
    ) {
        let Some(pending) = self.pending.remove(&session) else {
            return self.count_internal_error();
        };
        let authentic = pending.authentic;
        let Some(view) = self.registry.client_at(authentic.peer.client) else {
            return self.count_internal_error();
        };
        let (client_key, client) = (view.public.sign, view.name.into());
        let ts_ms = authentic.request.body.ts_ms;
        // Anew, because the window, the clock or another session's eviction may have moved since
        // the first stage.
        if let Err(reason) = self.check_fresh(&client_key, ts_ms, now) {
            return self.refuse_stale(now, datagram, session, &authentic, reason);
        }
        self.spend_session(session, client_key, ts_ms, true, now);
        if self.registry.previous().is_some() {
            let by = authentic.peer.by;
            self.push_action(Action::NoteServerKey { client: client_key, by });
        }
        self.replay_cache.set_home(session, datagram.source.ip());
        let completed = CompletedSession {
            session,
            authentic,
            client,
            reply_path: datagram.reply_path(),
            completed_at: now.mono,
            requested: None,
        };
        if self.freshness.is_durable(ts_ms) {
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
        let (floor_ms, started_ms) = (self.replay_cache.floor_ms(client_key), self.started_ms(now));
        self.freshness.check_timestamp(ts_ms, floor_ms, started_ms, &self.settings, now)
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

    /// Applies the outcome of [`Action::Record`]: the mark that is durable now, unix ms.
    pub fn apply_record_outcome(&mut self, now: Now, outcome: Result<u64, RecordError>) {
        self.freshness.note_written(outcome.as_ref().ok().copied());
        for completed in std::mem::take(&mut self.waiting_for_mark) {
            let ts_ms = completed.authentic.request.body.ts_ms;
            if let Err(RecordError(detail)) = &outcome {
                self.fail_session(now, &completed, Reason::Store, detail.clone());
            } else if self.freshness.is_past(ts_ms, &self.settings, now) {
                // The disk was stuck. The client has given up, and its address may be another's by
                // now.
                let detail = "the replay record took too long".to_owned();
                self.fail_session(now, &completed, Reason::Store, detail);
            } else if self.freshness.is_durable(ts_ms) {
                self.apply_policy(now, completed);
            } else {
                self.wait_for_mark(completed);
            }
        }
    }

    /// Applies policy. Evaluated when everything else is in place, so that two knocks cannot both
    /// pass a limit of one.
    fn apply_policy(&mut self, now: Now, mut completed: CompletedSession) {
        let session = completed.session;
        let action = match self.decide(now, &completed) {
            Err(reason) => return self.deny_session(now, &completed, reason),
            Ok(Decision::ConfirmReplaced) => return self.conclude_replaced(now, &completed),
            Ok(Decision::Open(grant)) => {
                completed.requested = Some(grant.clone());
                Action::Open { session, grant }
            }
            Ok(Decision::Close(grants)) => Action::Close { session, grants },
            Ok(Decision::Replace(keys)) => Action::Replace { session, keys },
        };
        self.completed.insert(session, completed);
        self.push_action(action);
    }

    /// Decides a request by the role of its keys and the client's stanza.
    fn decide(&mut self, now: Now, completed: &CompletedSession) -> Result<Decision, Reason> {
        let registry = Arc::clone(&self.registry);
        let Some(view) = registry.client_at(completed.authentic.peer.client) else {
            self.count_internal_error();
            return Err(Reason::Op);
        };
        let body = completed.authentic.request.body;
        view.stanza.role.check_op(&body.op, now.unix_ms)?;
        if body.op.new_keys().is_some() {
            return self.decide_replacement(now, completed, view);
        }
        self.confirm_new_keys(view);
        let (client, source) = (&completed.client, completed.reply_path.to.ip());
        let service = registry.find_service(body.service);
        if body.op == Op::Close {
            // Whatever lets this address in, also a wider grant of before a reload. Only the
            // client's own grants are looked at.
            let address = body.for_addr.map_or(source, |other| other.to_canonical());
            let lets_in = |net: &IpNet| net.contains(&address);
            let grants =
                service.map(|service| self.find_grants(client, &service.name, lets_in, now));
            return Ok(Decision::Close(grants.unwrap_or_default()));
        }
        let service = service.ok_or(Reason::Service)?;
        let permit = view.stanza.decide(Some(service), &body, source, now.unix_ms)?;
        let network = permit.granted_network();
        let same = |net: &IpNet| *net == network;
        let renewed = self.find_grants(client, &service.name, same, now).first().copied();
        let live =
            self.grants.count_live(client, now.mono) + self.count_requested_grants(client, now);
        if renewed.is_none() && view.stanza.max_grants.is_some_and(|max| live >= max as usize) {
            return Err(Reason::MaxGrants);
        }
        Ok(Decision::Open(Grant {
            id: renewed.unwrap_or_else(|| self.grants.next_id()),
            client: Arc::clone(client),
            service: Arc::clone(&service.name),
            source: permit.address,
            prefix: permit.prefix,
            scope: service.scope.clone(),
            ttl: permit.ttl,
        }))
    }

    /// Finds the grants of a client for this service with such a network: live ones, and those on
    /// their way to the firewall, which two knocks in short order mean just as well.
    fn find_grants(
        &self,
        client: &str,
        service: &str,
        wanted: impl Fn(&IpNet) -> bool,
        now: Now,
    ) -> Vec<GrantId> {
        let requested = self.requested_grants().filter(|grant| {
            *grant.client == *client && *grant.service == *service && wanted(&grant.network())
        });
        let mut ids = self.grants.find_live(client, service, &wanted, now.mono);
        ids.extend(requested.map(|grant| grant.id));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn requested_grants(&self) -> impl Iterator<Item = &Grant> {
        self.completed.values().filter_map(|completed| completed.requested.as_ref())
    }

    /// Counts grants of a client that the firewall has been asked for and that are not live yet.
    fn count_requested_grants(&self, client: &str, now: Now) -> usize {
        let requested = self.requested_grants().filter(|grant| *grant.client == *client);
        let ids: HashSet<GrantId> = requested.map(|grant| grant.id).collect();
        ids.into_iter().filter(|id| !self.grants.is_live(client, *id, now.mono)).count()
    }
}
