//! A datagram comes in: the checks of `docs/protocol.md` up to the sequence, cheapest first.

use spa_proto::{HostAddr, KemFragment, MAX_PACKET, MIN_PACKET, Reason, ServerSession, SessionId};

use super::pending::{AuthenticRequest, Pending, StageOutcome, open_stage};
use super::registry::PeerId;
use super::{Action, Engine, Event, EventKind, Now};
use crate::domain::datagram::Datagram;

/// A packet that passed the symmetric gate.
pub(super) struct Gated {
    /// Epoch of its tag.
    pub(super) epoch: u64,
    /// The client, and the server key that it used.
    pub(super) peer: PeerId,
    /// Stage of the sequence, from 0.
    pub(super) stage: u8,
    /// Names the datagram among those of its client.
    pub(super) mac: [u8; 8],
    ephemeral: [u8; 32],
    /// Session that it belongs to.
    pub(super) session: SessionId,
}

impl Engine {
    /// Counts a datagram whose ends no knock has.
    pub fn count_wrong_address(&mut self) {
        self.counters.datagrams += 1;
        self.counters.wrong_address += 1;
    }

    /// Takes one datagram that came to a knock port. What follows is told by [`Engine::poll`].
    pub fn handle(&mut self, now: Now, datagram: Datagram<'_>) {
        self.counters.datagrams += 1;
        let length = datagram.payload.len();
        if !(MIN_PACKET..=MAX_PACKET).contains(&length) {
            self.counters.wrong_length += 1;
            return;
        }
        let Some(gated) = self.check_cheap(now, datagram) else { return };
        self.look_at_clocks(now);
        if self.pending.get(&gated.session).is_some_and(|pending| pending.is_expired(now.mono)) {
            self.time_out(now, gated.session);
        }
        if self.pending.contains_key(&gated.session) {
            self.verify_later(now, datagram, &gated);
        } else if !self.answer_ended(now, datagram, &gated) && !self.is_used(now, datagram, &gated)
        {
            self.verify_first(now, datagram, &gated);
        }
    }

    /// Tag, port of the stage, mac: what a stranger's packet does not pass, without any public-key
    /// operation but one per pair for ever.
    fn check_cheap(&mut self, now: Now, datagram: Datagram<'_>) -> Option<Gated> {
        let mut wrong_port = false;
        let mut wrong_mac = false;
        for (epoch, hit) in self.tables.find_tag(datagram.payload) {
            let Some(peer) = self.registry.find_identity(hit.client, now.unix_ms) else { continue };
            let stage = hit.stage;
            let port = datagram.destination.port();
            if !self.settings.sequence.takes_stage(epoch, stage, peer.by, port) {
                wrong_port = true;
                continue;
            }
            let Some(active) = self.cache.active_client(&self.registry, peer, now.mono) else {
                continue;
            };
            let Some((_, pair)) = active.keys_by(peer.by) else { continue };
            if !pair.mac_is_right(datagram.payload) {
                wrong_mac = true;
                continue;
            }
            // A grant for an address that no single host has would be worth nothing, or open for
            // many.
            if HostAddr::new(datagram.source.ip()).is_none() {
                self.counters.ignored += 1;
                return None;
            }
            let mac = *datagram.payload.get(8..)?.first_chunk()?;
            if active.was_refused(&mac) {
                self.counters.refused_again += 1;
                return None;
            }
            let ephemeral = pair.ephemeral(datagram.payload)?;
            let session = SessionId::of_ephemeral(&ephemeral);
            return Some(Gated { epoch, peer, stage, mac, ephemeral, session });
        }
        if wrong_port {
            self.counters.wrong_port += 1;
        } else if wrong_mac {
            self.counters.wrong_mac += 1;
        } else {
            self.counters.unknown_tag += 1;
        }
        None
    }

    /// Tells whether the session is used: then nothing ever comes of it again.
    fn is_used(&mut self, now: Now, datagram: Datagram<'_>, gated: &Gated) -> bool {
        let source = datagram.source.ip();
        let (working, claiming) = (&mut self.working, &mut self.claiming);
        let deciding = working.get_mut(&gated.session).or_else(|| claiming.get_mut(&gated.session));
        if let Some(completed) = deciding {
            if completed.is_last_stage(datagram, gated, &self.settings) {
                completed.await_decision(datagram.reply_path());
            }
            self.counters.ignored += 1;
            return true;
        }
        let Some(entry) = self.replay_cache.get_entry(gated.session) else { return false };
        let tell = !entry.is_home(source) && entry.tell_once();
        let skew_ms = entry.skew_ms(now);
        self.counters.replayed += 1;
        if tell {
            self.push_copy_event(now, EventKind::Replay, gated.peer, source, skew_ms);
        }
        true
    }

    /// The first packet of a session, whichever stage it is: the only one that costs public-key
    /// operations.
    fn verify_first(&mut self, now: Now, datagram: Datagram<'_>, gated: &Gated) {
        let source = datagram.source.ip();
        let Some((authentic, fragment)) = self.open_first(now, datagram, gated) else { return };
        let Some(view) = self.registry.client_at(gated.peer.client) else {
            return self.count_internal_error();
        };
        let client_key = view.public.sign;
        let ts_ms = authentic.request.body.ts_ms;
        if let Err(reason) = self.check_fresh(&client_key, ts_ms, now) {
            return self.refuse_stale(now, datagram, gated.session, authentic, reason);
        }
        // The disk write starts now and is mostly over when the last stage is here.
        self.push_action(Action::ExpectClaim { ts_ms });
        let elsewhere = authentic.is_bound_elsewhere(source);
        // What a bound session is asked from elsewhere leaves no trace.
        let first_source = authentic.request.body.bind_src.unwrap_or(source);
        let mut pending = Pending::new(authentic, first_source, now, &self.settings.sequence);
        pending.keep_fragment(gated.stage, fragment);
        self.pending.insert(gated.session, pending);
        if elsewhere {
            self.counters.ignored += 1;
        } else {
            self.advance_session(now, datagram, gated);
        }
    }

    /// Budget, Diffie-Hellman, AEAD, strict decoding, signature. What fails is remembered by its
    /// mac, so that a copy of it costs nothing more.
    fn open_first(
        &mut self,
        now: Now,
        datagram: Datagram<'_>,
        gated: &Gated,
    ) -> Option<(AuthenticRequest, Option<KemFragment>)> {
        let (registry, kem_stages) = (&self.registry, self.settings.kem_stages());
        let active = self.cache.active_client(registry, gated.peer, now.mono)?;
        // After the look-ups of used and pending sessions on purpose: copies of seen packets must
        // not empty the budget of the client that made them.
        if !active.pay_session(datagram.source.ip(), now.mono) {
            self.counters.over_budget += 1;
            // Without a line the victim would look for the fault everywhere else.
            self.note_over_budget(now, datagram.source.ip(), gated.peer);
            return None;
        }
        let opened = active.keys_by(gated.peer.by).and_then(|(context, pair)| {
            let server = registry.server_secret(gated.peer.by)?;
            let keys = ServerSession::agree(server, pair, context, &gated.ephemeral)?;
            let (request, fragment) =
                open_stage(&keys, datagram, gated.epoch, gated.stage, kem_stages).ok()?;
            let (peer, epoch) = (gated.peer, gated.epoch);
            Some((AuthenticRequest { peer, keys, request, epoch, kem: None }, fragment))
        });
        let Some((authentic, fragment)) = opened else {
            self.counters.not_authentic += 1;
            active.remember_refused(gated.mac);
            return None;
        };
        let view = registry.client_at(gated.peer.client)?;
        if authentic.keys.verify(view.public, &authentic.request) {
            return Some((authentic, fragment));
        }
        self.counters.bad_signature += 1;
        active.remember_refused(gated.mac);
        let (source, skew_ms) = (datagram.source.ip(), authentic.skew_ms(now));
        self.push_copy_event(now, EventKind::BadSignature, gated.peer, source, skew_ms);
        None
    }

    /// A later packet of a session in progress.
    fn verify_later(&mut self, now: Now, datagram: Datagram<'_>, gated: &Gated) {
        let source = datagram.source.ip();
        let Some(pending) = self.pending.get_mut(&gated.session) else { return };
        let request = &pending.authentic;
        let foreign = source != pending.first_source
            && !pending.told
            && request.request.body.bind_src.is_none();
        pending.told |= foreign;
        let wanted = !pending.progress.is_done(gated.stage) && !request.is_bound_elsewhere(source);
        let kem_stages = self.settings.kem_stages();
        let opened = wanted
            .then(|| open_stage(&request.keys, datagram, gated.epoch, gated.stage, kem_stages).ok())
            .flatten()
            .filter(|(body, _)| body.same_as(&request.request));
        let authentic = opened.is_some();
        let (peer, skew_ms) = (request.peer, request.skew_ms(now));
        if let Some((_, fragment)) = opened {
            pending.keep_fragment(gated.stage, fragment);
        }
        if foreign {
            self.push_copy_event(now, EventKind::OtherSource, peer, source, skew_ms);
        }
        if authentic {
            self.advance_session(now, datagram, gated);
        } else {
            self.counters.ignored += 1;
        }
    }

    /// The stage is authentic: the session moves.
    fn advance_session(&mut self, now: Now, datagram: Datagram<'_>, gated: &Gated) {
        let source = datagram.source.ip();
        let Some(pending) = self.pending.get_mut(&gated.session) else { return };
        let sequence = &self.settings.sequence;
        match pending.progress.take_stage(gated.stage, now.mono, sequence) {
            StageOutcome::Ignored => self.counters.ignored += 1,
            StageOutcome::Held => self.counters.stages += 1,
            StageOutcome::Accepted => {
                self.counters.stages += 1;
                if self.settings.mark_sequence {
                    let ttl = self.settings.sequence.timeout;
                    self.push_action(Action::InSequence { source, ttl });
                }
            }
            StageOutcome::Complete => {
                self.counters.stages += 1;
                self.complete_session(now, datagram, gated);
            }
        }
    }

    /// Sessions that nobody can complete any more are used.
    pub(super) fn expire_pending(&mut self, now: Now) {
        let pending = self.pending.iter().filter(|(_, pending)| pending.is_expired(now.mono));
        let late: Vec<SessionId> = pending.map(|(session, _)| *session).collect();
        late.into_iter().for_each(|session| self.time_out(now, session));
    }

    fn time_out(&mut self, now: Now, session: SessionId) {
        let Some(Pending { authentic, first_source, .. }) = self.pending.remove(&session) else {
            return;
        };
        let client = authentic.peer.client;
        let Some(view) = self.registry.client_at(client) else {
            return self.count_internal_error();
        };
        let key = view.public.sign;
        self.spend_session(session, key, authentic.request.body.ts_ms, false, now);
        // Its own packets that come later still are no replay worth a line.
        self.replay_cache.set_home(session, first_source);
        let skew_ms = authentic.skew_ms(now);
        self.push_event(EventKind::TimedOut, client, first_source, skew_ms, Reason::None);
    }

    /// Logs that a client's budget is spent: somebody holds its keys, or floods with its name.
    fn note_over_budget(&mut self, now: Now, source: std::net::IpAddr, peer: PeerId) {
        self.push_copy_event(now, EventKind::OverBudget, peer, source, 0);
    }

    /// Logs what copies of a client's packets, or a thief of its keys, can cause at will: from a
    /// bucket of the client's.
    pub(super) fn push_copy_event(
        &mut self,
        now: Now,
        kind: EventKind,
        peer: PeerId,
        source: std::net::IpAddr,
        skew_ms: i64,
    ) {
        let active = self.cache.active_client(&self.registry, peer, now.mono);
        if active.is_some_and(|active| active.may_log(now.mono)) {
            self.push_event(kind, peer.client, source, skew_ms, Reason::None);
        }
    }

    /// Logs an authenticated event of a client.
    pub(super) fn push_event(
        &mut self,
        kind: EventKind,
        client: u32,
        source: std::net::IpAddr,
        skew_ms: i64,
        reason: Reason,
    ) {
        let Some(view) = self.registry.client_at(client) else {
            return self.count_internal_error();
        };
        let client = view.name.into();
        self.push_action(Action::Log(Event::new(kind, client, source, skew_ms, reason)));
    }
}
