//! A sequence is complete: policy, durable record, firewall, ack, in this order.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use spa_proto::{Ack, Body, Op, Reason, SealedBody, ServerKeys, ServerSession, SessionId, Status};

use super::intake::skew_ms;
use super::policy::Service;
use super::registry::{By, Who};
use super::{Action, Engine, Event, EventKind, Now};
use crate::domain::datagram::{Datagram, Way};
use crate::domain::grant::{Grant, GrantId};
use crate::firewall::FirewallError;

/// A complete session that waits for the store or the firewall.
pub(super) struct Finishing {
    pub(super) who: Who,
    pub(super) name: Arc<str>,
    pub(super) keys: ServerSession,
    pub(super) request: SealedBody,
    from: SocketAddr,
    pub(super) to: SocketAddr,
    way: Option<Way>,
    /// The firewall has been asked: its answer comes, whatever is reloaded meanwhile.
    pub(super) decided: bool,
    /// When its last stage came, monotonic.
    since: Duration,
    /// The grant that it was asked for.
    asked: Option<Grant>,
}

impl Engine {
    /// The last missing stage came: the session is spent from here on, whatever comes of it.
    pub(super) fn complete_session(
        &mut self,
        now: Now,
        datagram: Datagram<'_>,
        session: SessionId,
    ) {
        let Some(pending) = self.pending.remove(&session) else { return };
        let Some(view) = self.registry.client_at(pending.who.client) else { return };
        let client_key = view.public.sign;
        let name = view.name.into();
        let ts_ms = pending.request.body.ts_ms;
        // Anew, because the window, the clock or another session's eviction may have moved since
        // the first stage.
        let (floor, started_ms) = (self.used.floor_ms(&client_key), self.started_ms(now));
        let fresh = self.freshness.check_timestamp(ts_ms, floor, started_ms, &self.settings, now);
        if let Err(reason) = fresh {
            self.refuse_stale(
                now,
                datagram,
                session,
                pending.who,
                &pending.keys,
                &pending.request,
                reason,
            );
            return;
        }
        self.spend_session(session, client_key, ts_ms, true, now);
        if self.registry.previous().is_some() {
            self.push_action(Action::Came { client: client_key, by: pending.who.by });
        }
        self.used.set_home(session, datagram.source.ip());
        let finishing = Finishing {
            who: pending.who,
            name,
            keys: pending.keys,
            request: pending.request,
            from: datagram.destination,
            to: datagram.source,
            way: datagram.way,
            decided: false,
            since: now.mono,
            asked: None,
        };
        self.finishing.insert(session, finishing);
        if self.freshness.is_durable(ts_ms) {
            self.decide_request(now, session);
        } else {
            self.waiting.push(session);
            if let Some(mark) = self.freshness.mark_to_write(ts_ms) {
                self.push_action(Action::Record(mark));
            }
        }
    }

    /// The store's answer to [`Action::Record`]: the mark that is durable now, or why there is
    /// none.
    pub fn recorded(&mut self, now: Now, outcome: Result<u64, String>) {
        self.freshness.note_written(outcome.as_ref().ok().copied());
        for session in std::mem::take(&mut self.waiting) {
            let Some(ts_ms) = self.finishing.get(&session).map(|f| f.request.body.ts_ms) else {
                continue;
            };
            if let Err(why) = &outcome {
                self.fail_request(now, session, Reason::Store, why.clone());
            } else if self.freshness.is_past(ts_ms, &self.settings, now) {
                // The disk was stuck. The client has given up, and its address may be another's by
                // now.
                self.fail_request(
                    now,
                    session,
                    Reason::Store,
                    "the replay record took too long".to_owned(),
                );
            } else if self.freshness.is_durable(ts_ms) {
                self.decide_request(now, session);
            } else {
                self.waiting.push(session);
                if let Some(mark) = self.freshness.mark_to_write(ts_ms) {
                    self.push_action(Action::Record(mark));
                }
            }
        }
    }

    /// Policy. Evaluated when everything else is in place, so that two knocks cannot both pass a
    /// limit of one.
    fn decide_request(&mut self, now: Now, session: SessionId) {
        let Some(finishing) = self.finishing.get_mut(&session) else { return };
        finishing.decided = true;
        let body = finishing.request.body;
        let (index, source) = (finishing.who.client, finishing.to.ip());
        let service = self.registry.find_service(body.service).map(Arc::clone);
        let client = Arc::clone(&finishing.name);
        if self.about_keys(now, session) {
            return;
        }
        let Some(view) = self.registry.client_at(index) else { return };
        if body.op == Op::Close {
            // Whatever lets this address in, also a wider grant of before a reload. Only the
            // client's own grants are looked at.
            let address = body.for_addr.map_or(source, |other| other.to_canonical());
            let lets_in = |net: &IpNet| net.contains(&address);
            let grants = service
                .as_ref()
                .map_or_else(Vec::new, |s| self.find_grants(&client, &s.name, lets_in, now));
            self.push_action(Action::Close { session, grants });
            return;
        }
        let decided = view.stanza.decide(service.as_deref(), &body, source, now.unix_ms);
        let max_grants = view.stanza.max_grants;
        let (permit, service) = match (decided, service) {
            (Ok(permit), Some(service)) => (permit, service),
            (Err(reason), _) => return self.deny_request(now, session, reason),
            (Ok(_), None) => return self.deny_request(now, session, Reason::Service),
        };
        let network = permit.granted_network();
        let renewed =
            self.find_grants(&client, &service.name, |net| *net == network, now).first().copied();
        let live = self.grants.count_live(&client, now.mono) + self.asked_for(&client, now);
        if renewed.is_none() && max_grants.is_some_and(|max| live >= max as usize) {
            return self.deny_request(now, session, Reason::MaxGrants);
        }
        let id = renewed.unwrap_or_else(|| self.grants.next_id());
        let grant = Grant {
            id,
            client,
            service: Arc::clone(&service.name),
            source: permit.address,
            prefix: permit.prefix,
            scope: service.scope.clone(),
            ttl: permit.ttl,
        };
        if let Some(finishing) = self.finishing.get_mut(&session) {
            finishing.asked = Some(grant.clone());
        }
        self.push_action(Action::Open { session, grant });
    }

    /// The grants of a client for this service with such a network: live ones, and those on their
    /// way to the firewall, which two knocks in short order mean just as well.
    fn find_grants(
        &self,
        client: &str,
        service: &str,
        wanted: impl Fn(&IpNet) -> bool,
        now: Now,
    ) -> Vec<GrantId> {
        let on_their_way = self.requested_grants().filter(|grant| {
            *grant.client == *client && *grant.service == *service && wanted(&grant.network())
        });
        let mut ids = self.grants.find_live(client, service, &wanted, now.mono);
        ids.extend(on_their_way.map(|grant| grant.id));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn requested_grants(&self) -> impl Iterator<Item = &Grant> {
        self.finishing.values().filter_map(|finishing| finishing.asked.as_ref())
    }

    /// Grants of a client that the firewall has been asked for and that do not count as live.
    fn asked_for(&self, client: &str, now: Now) -> usize {
        let asked = self.requested_grants().filter(|grant| *grant.client == *client);
        let ids: HashSet<GrantId> = asked.map(|grant| grant.id).collect();
        ids.into_iter().filter(|id| !self.grants.is_live(client, *id, now.mono)).count()
    }

    /// The firewall's answer to [`Action::Open`].
    pub fn opened(&mut self, now: Now, session: SessionId, outcome: Result<(), FirewallError>) {
        match outcome {
            Err(FirewallError::Banned(_)) => self.deny_request(now, session, Reason::Banned),
            Err(error) => self.fail_request(now, session, Reason::Firewall, error.to_string()),
            Ok(()) => {
                let Some(finishing) = self.finishing.remove(&session) else { return };
                let Some(grant) = finishing.asked.clone() else { return };
                let renewed = self.grants.is_live(&grant.client, grant.id, now.mono);
                self.grants.insert_grant(&grant, now.mono.saturating_add(grant.ttl));
                self.revoke_if_gone(&grant);
                self.counters.granted += 1;
                let kind = if renewed { EventKind::Renewed } else { EventKind::Granted };
                let ttl_s = u16::try_from(grant.ttl.as_secs()).unwrap_or(u16::MAX);
                self.conclude_session(
                    now,
                    session,
                    &finishing,
                    kind,
                    (Status::Granted, Reason::None, ttl_s),
                    None,
                );
            }
        }
    }

    /// The firewall's answer to [`Action::Close`].
    pub fn closed(
        &mut self,
        now: Now,
        session: SessionId,
        outcome: Result<Vec<GrantId>, FirewallError>,
    ) {
        match outcome {
            Err(error) => self.fail_request(now, session, Reason::Firewall, error.to_string()),
            Ok(ids) => {
                ids.iter().for_each(|id| self.grants.remove_grant(*id));
                let Some(finishing) = self.finishing.remove(&session) else { return };
                let answer = (Status::Granted, Reason::None, 0);
                self.conclude_session(now, session, &finishing, EventKind::Closed, answer, None);
            }
        }
    }

    pub(super) fn deny_request(&mut self, now: Now, session: SessionId, reason: Reason) {
        let Some(finishing) = self.finishing.remove(&session) else { return };
        self.counters.denied += 1;
        self.conclude_session(
            now,
            session,
            &finishing,
            EventKind::Denied,
            (Status::Denied, reason, 0),
            None,
        );
    }

    /// Firewall or store failed: no grant, no granted-ack, and the session stays spent.
    pub(super) fn fail_request(
        &mut self,
        now: Now,
        session: SessionId,
        reason: Reason,
        detail: String,
    ) {
        let Some(finishing) = self.finishing.remove(&session) else { return };
        self.counters.failed += 1;
        self.conclude_session(
            now,
            session,
            &finishing,
            EventKind::Failed,
            (Status::Busy, reason, 0),
            Some(detail),
        );
    }

    /// Log line and ack.
    pub(super) fn conclude_session(
        &mut self,
        now: Now,
        session: SessionId,
        finishing: &Finishing,
        kind: EventKind,
        answer: (Status, Reason, u16),
        detail: Option<String>,
    ) {
        let (status, reason, _) = answer;
        let grant = finishing.asked.as_ref().filter(|_| status == Status::Granted);
        let service = self.registry.find_service(finishing.request.body.service);
        self.push_action(Action::Log(Event {
            kind,
            client: Arc::clone(&finishing.name),
            service: service.map(|s: &Arc<Service>| Arc::clone(&s.name)),
            source: finishing.to.ip(),
            asked: match finishing.request.body.ttl_s {
                0 => None,
                seconds => Some(Duration::from_secs(seconds.into())),
            },
            network: grant.map(Grant::network),
            took: Some(now.mono.saturating_sub(finishing.since)),
            skew_ms: skew_ms(&finishing.request, now),
            reason,
            grant: grant.map(|grant| grant.id),
            ttl: grant.map(|grant| grant.ttl),
            detail,
            by: None,
        }));
        self.push_ack(
            now,
            session,
            (&finishing.keys, finishing.who.by),
            &finishing.request.body,
            (finishing.from, finishing.to, finishing.way),
            answer,
        );
    }

    /// A completely verified request whose time stamp may not open: spent, answered, logged.
    #[expect(clippy::too_many_arguments, reason = "called from two places that hold these apart")]
    pub(super) fn refuse_stale(
        &mut self,
        now: Now,
        datagram: Datagram<'_>,
        session: SessionId,
        who: Who,
        keys: &ServerSession,
        request: &SealedBody,
        reason: Reason,
    ) {
        let Some(view) = self.registry.client_at(who.client) else { return };
        let client = who.client;
        let key = view.public.sign;
        self.spend_session(session, key, request.body.ts_ms, false, now);
        self.used.set_home(session, datagram.source.ip());
        self.counters.stale += 1;
        // A knock at or below the floor was accepted once, or could have been: whoever holds a copy
        // of it must not learn from an answer that somebody listens here.
        if reason == Reason::Floor || request.body.ts_ms <= self.used.floor_ms(&key) {
            self.used.note_logged(session);
            self.push_event(
                EventKind::Replay,
                client,
                datagram.source.ip(),
                skew_ms(request, now),
                Reason::Floor,
            );
            return;
        }
        self.push_event(
            EventKind::Stale,
            client,
            datagram.source.ip(),
            skew_ms(request, now),
            reason,
        );
        // What the fence refuses and was made before this start may be a copy of a knock that
        // opened before it: for the same reason it gets no answer. A live client goes on to
        // a fresh session, and that one gets the ack.
        if request.body.ts_ms <= self.fence_ms(now).min(self.started_ms(now)) {
            return;
        }
        let wait_ms = match reason {
            Reason::Fence => self.fence_ms(now).saturating_sub(now.unix_ms),
            _ => 0,
        };
        let wait_s = u16::try_from(wait_ms / 1000 + u64::from(wait_ms > 0)).unwrap_or(u16::MAX);
        let ends = (datagram.destination, datagram.source, datagram.way);
        self.push_ack(
            now,
            session,
            (keys, who.by),
            &request.body,
            ends,
            (Status::Stale, reason, wait_s),
        );
    }

    fn push_ack(
        &mut self,
        now: Now,
        session: SessionId,
        (keys, by): (&ServerSession, By),
        body: &Body,
        (from, to, way): (SocketAddr, SocketAddr, Option<Way>),
        (status, reason, ttl_s): (Status, Reason, u16),
    ) {
        if !self.settings.ack || !body.flags.want_ack {
            return;
        }
        let ack = Ack { status, reason, ttl_s, server_ms: now.unix_ms, observed: to };
        // Sealed under the key that the client believes in, so the present one is as good as that.
        let sealed = match by {
            By::Key => keys.seal_ack(&ack).map(|bytes| bytes.to_vec()),
            By::PreviousKey => {
                let hop = self.settings.sequence.hop_key().cloned();
                let now = ServerKeys { public: *self.registry.public(), hop };
                keys.seal_ack_and_keys(&ack, &now).map(|bytes| bytes.to_vec())
            }
        };
        // Without random bytes there is no ack; the grant stands, and the client finds the service
        // open.
        if let Ok(bytes) = sealed {
            self.used.cache_ack(session, to.ip(), bytes.clone());
            self.push_action(Action::Ack { from, to, way, bytes });
        }
    }

    /// How long until the fence lets a knock of this moment pass; zero when it does.
    #[must_use]
    pub fn fence_left(&self, now: Now) -> Duration {
        Duration::from_millis(self.fence_ms(now).saturating_sub(now.unix_ms))
    }
}
