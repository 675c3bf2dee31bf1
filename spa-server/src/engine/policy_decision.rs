//! The decision about a completed session: by the role of its keys, the client's stanza, and what
//! is open already.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use spa_proto::{KemCiphertext, Op, Reason};

use super::action::KeyReplacement;
use super::completed::CompletedSession;
use super::grants::GrantView;
use super::policy::{Permit, ServiceTerms};
use super::registry::{ClientView, Registry};
use super::{Engine, Now};
use crate::domain::grant::{Grant, GrantId, alone};

/// Sources that are let in by one session of a server that never answers.
pub(crate) const MAX_SOURCES_WITHOUT_ACK: usize = 4;

/// Action that policy allows.
pub(super) enum Decision {
    /// Opens a grant.
    Open(Grant),
    /// Opens nothing before a CONFIRM, which then gets this ttl.
    AwaitConfirm(Duration),
    /// Closes grants.
    Close(Vec<GrantId>),
    /// Replaces keys; with what goes into the answer.
    Replace(KeyReplacement, Option<KemCiphertext>),
    /// Confirms keys that an earlier session has replaced; its ack was lost.
    ConfirmReplaced(Option<KemCiphertext>),
}

/// Tells whether another source might fare better: such a refusal decides nothing about the
/// session, or a copy from a bad address would end it before its client's own datagram comes.
pub(super) fn depends_on_source(reason: Reason) -> bool {
    matches!(reason, Reason::From | Reason::Banned | Reason::MaxGrants)
}

impl Engine {
    /// Decides a request by the role of its keys and the client's stanza.
    pub(super) fn decide(
        &mut self,
        now: Now,
        completed: &CompletedSession,
    ) -> Result<Decision, Reason> {
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
        if completed.ask.number == 0 {
            self.confirm_new_keys(view);
        }
        if body.op == Op::Close {
            return Ok(Decision::Close(self.find_closing(now, completed, &registry)));
        }
        let service = registry.find_service(body.service).ok_or(Reason::Service)?;
        let source = completed.ask.reply_path.to.ip();
        let permit = view.stanza.decide(Some(service), &body, source, now.unix_ms)?;
        self.decide_opening(now, completed, view, service, permit)
    }

    fn decide_opening(
        &mut self,
        now: Now,
        completed: &CompletedSession,
        view: ClientView<'_>,
        service: &ServiceTerms,
        permit: Permit,
    ) -> Result<Decision, Reason> {
        let client = &completed.client;
        let network = permit.granted_network();
        let same =
            |grant: &GrantView<'_>| *grant.service == *service.name && grant.network == network;
        let lasting = |grant: &GrantView<'_>| !grant.provisional && same(grant);
        let renewed = self.find_grants(client, lasting, now).first().copied();
        let own: Vec<GrantId> = completed.opened.iter().map(|(id, _)| *id).collect();
        let live = self.grants.count_live(client, &own, now.mono)
            + self.count_requested_grants(client, now);
        // A second source of a server without acks is let in beside the first, and counted once.
        let counts = own.is_empty() || completed.ask.number > 0;
        if counts
            && renewed.is_none()
            && view.stanza.max_grants.is_some_and(|max| live >= max as usize)
        {
            return Err(Reason::MaxGrants);
        }
        let is_provisional = completed.provisional && completed.ask.number == 0;
        if is_provisional && (renewed.is_some() || self.settings.provisional.is_zero()) {
            return Ok(Decision::AwaitConfirm(permit.ttl));
        }
        let (prefix, ttl) = if is_provisional {
            (alone(permit.address), permit.ttl.min(self.settings.provisional))
        } else {
            (permit.prefix, permit.ttl)
        };
        let provisional_here = completed
            .opened
            .iter()
            .find(|(_, source)| *source == permit.address && prefix == alone(permit.address))
            .map(|(id, _)| *id);
        Ok(Decision::Open(Grant {
            id: renewed.or(provisional_here).unwrap_or_else(|| self.grants.next_id()),
            client: Arc::clone(client),
            service: Arc::clone(&service.name),
            source: permit.address,
            prefix,
            scope: service.scope.clone(),
            ttl,
            provisional: is_provisional,
        }))
    }

    /// Decides what the source of a repeated last stage is told, while the session is provisional:
    /// the time that a CONFIRM from there would get.
    pub(super) fn decide_for_source(
        &self,
        now: Now,
        completed: &CompletedSession,
        source: IpAddr,
    ) -> Result<Duration, Reason> {
        let view = self.registry.client_at(completed.authentic.peer.client).ok_or(Reason::Op)?;
        let body = completed.authentic.request.body;
        view.stanza.role.check_op(&body.op, now.unix_ms)?;
        let service = self.registry.find_service(body.service).map(AsRef::as_ref);
        Ok(view.stanza.decide(service, &body, source, now.unix_ms)?.ttl)
    }

    /// Tells whether another source may still be let in by a session that nobody can confirm.
    pub(super) fn admits_source(&self, completed: &CompletedSession, source: IpAddr) -> bool {
        let body = completed.authentic.request.body;
        !self.settings.ack
            && !completed.provisional
            && matches!(body.op, Op::Open | Op::Renew)
            && names_no_address(&body)
            && (1..MAX_SOURCES_WITHOUT_ACK).contains(&completed.opened.len())
            && !completed.opened.iter().any(|(_, known)| *known == source)
    }

    /// Finds what a CLOSE ends. Whatever lets the address in, also a wider grant of before a
    /// reload; only the client's own grants are looked at.
    fn find_closing(
        &self,
        now: Now,
        completed: &CompletedSession,
        registry: &Registry,
    ) -> Vec<GrantId> {
        let body = completed.authentic.request.body;
        let address = body.for_addr.or(body.bind_src);
        let every_service = body.flags.all && body.service == 0;
        let service = registry.find_service(body.service);
        let closes = |grant: &GrantView<'_>| {
            (every_service || service.is_some_and(|service| *grant.service == *service.name))
                && (body.flags.all
                    || address.is_some_and(|address| grant.network.contains(&address)))
        };
        self.find_grants(&completed.client, closes, now)
    }

    /// Finds the grants of a client that are as wanted: live ones, and those on their way to the
    /// firewall, which two knocks in short order mean just as well.
    fn find_grants(
        &self,
        client: &str,
        wanted: impl Fn(&GrantView<'_>) -> bool,
        now: Now,
    ) -> Vec<GrantId> {
        let requested = self
            .requested_grants()
            .filter(|grant| *grant.client == *client && wanted(&GrantView::of(grant)));
        let mut ids = self.grants.find_live(client, &wanted, now.mono);
        ids.extend(requested.map(|grant| grant.id));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn requested_grants(&self) -> impl Iterator<Item = &Grant> {
        self.working.values().filter_map(|completed| completed.ask.requested.as_ref())
    }

    /// Counts grants of a client that the firewall has been asked for and that do not count as live
    /// ones yet: a provisional one that is being confirmed is such a grant.
    fn count_requested_grants(&self, client: &str, now: Now) -> usize {
        let requested =
            self.requested_grants().filter(|grant| *grant.client == *client && !grant.provisional);
        let ids: HashSet<GrantId> = requested.map(|grant| grant.id).collect();
        ids.into_iter().filter(|id| !self.grants.is_lasting(client, *id, now.mono)).count()
    }
}

/// Tells whether an opening is for whoever sent it.
fn names_no_address(body: &spa_proto::Body) -> bool {
    body.bind_src.is_none() && body.for_addr.is_none()
}
