//! A datagram comes in: the checks of `docs/protocol.md` up to the sequence, cheapest first.

use spa_proto::{MAX_PACKET, MIN_PACKET, Reason, ServerSession, SessionId};

use super::pending::{AuthenticRequest, MAX_TRACKS, Pending, StageOutcome, Track};
use super::registry::PeerId;
use super::{Action, Engine, Event, EventKind, Now};
use crate::domain::datagram::Datagram;

/// A packet that passed the symmetric gate.
struct Gated {
    epoch: u64,
    peer: PeerId,
    stage: u8,
    ephemeral: [u8; 32],
    session: SessionId,
}

impl Engine {
    /// Takes one datagram that came to a knock port. What follows is told by [`Engine::poll`].
    pub fn handle(&mut self, now: Now, datagram: Datagram<'_>) {
        self.counters.datagrams += 1;
        let length = datagram.payload.len();
        if !(MIN_PACKET..=MAX_PACKET).contains(&length) {
            self.counters.wrong_length += 1;
            return;
        }
        let Some(gated) = self.check_cheap(now, datagram) else { return };
        if self.pending.get(&gated.session).is_some_and(|pending| pending.is_expired(now.mono)) {
            self.time_out(now, gated.session);
        }
        if self.answer_if_spent(now, datagram, &gated) {
            return;
        }
        if self.pending.contains_key(&gated.session) {
            self.verify_later(now, datagram, &gated);
        } else {
            self.verify_first(now, datagram, &gated);
        }
    }

    /// Tag, port of the stage, mac: what a stranger's packet does not pass, without any public-key
    /// operation.
    fn check_cheap(&mut self, now: Now, datagram: Datagram<'_>) -> Option<Gated> {
        let mut wrong_port = false;
        let mut wrong_mac = false;
        for (epoch, hit) in self.tables.find_tag(datagram.payload) {
            let Some(peer) = self.registry.find_identity(hit.client, now.unix_ms) else { continue };
            let stage = hit.stage;
            if self.settings.sequence.port_of_stage(epoch, stage, peer.by)
                != Some(datagram.destination.port())
            {
                wrong_port = true;
                continue;
            }
            let Some(active) = self.cache.active_client(&self.registry, peer.client, now.mono)
            else {
                continue;
            };
            let Some(keys) = active.derive_keys(&self.registry, peer) else { continue };
            if !keys.gate.mac_is_right(datagram.payload) {
                wrong_mac = true;
                continue;
            }
            let ephemeral = keys.gate.ephemeral(datagram.payload)?;
            let session = SessionId::of_ephemeral(&ephemeral);
            return Some(Gated { epoch, peer, stage, ephemeral, session });
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

    /// Whether the session is spent: then its ack may be due again, and nothing else ever is.
    fn answer_if_spent(&mut self, now: Now, datagram: Datagram<'_>, gated: &Gated) -> bool {
        let last = gated.stage + 1 == self.settings.sequence.stages();
        let source = datagram.source.ip();
        let Some(entry) = self.replay_cache.get_entry(gated.session) else { return false };
        if let Some(bytes) = if last && self.settings.ack { entry.repeat_ack(source) } else { None }
        {
            self.counters.ignored += 1;
            self.push_action(Action::Ack { reply_path: datagram.reply_path(), bytes });
            return true;
        }
        let tell = !entry.is_home(source) && entry.tell_once();
        let skew_ms = entry.skew_ms(now);
        self.counters.replayed += 1;
        if tell {
            self.push_event(EventKind::Replay, gated.peer.client, source, skew_ms, Reason::None);
        }
        true
    }

    /// The first packet of a session, whichever stage it is: the only one that costs public-key
    /// operations.
    fn verify_first(&mut self, now: Now, datagram: Datagram<'_>, gated: &Gated) {
        let source = datagram.source.ip();
        let Some(authentic) = self.open_first(now, datagram, gated) else { return };
        let Some(view) = self.registry.client_at(gated.peer.client) else {
            return self.count_internal_error();
        };
        let client_key = view.public.sign;
        if !authentic.keys.verify(view.public, &authentic.request, source) {
            self.counters.bad_signature += 1;
            let active = self.cache.active_client(&self.registry, gated.peer.client, now.mono);
            if active.is_some_and(|active| active.may_log_bad_signature(gated.session, now.mono)) {
                let (client, skew_ms) = (gated.peer.client, authentic.skew_ms(now));
                self.push_event(EventKind::BadSignature, client, source, skew_ms, Reason::None);
            }
            return;
        }
        let ts_ms = authentic.request.body.ts_ms;
        if let Err(reason) = self.check_fresh(&client_key, ts_ms, now) {
            return self.refuse_stale(now, datagram, gated.session, &authentic, reason);
        }
        // The disk write starts now and is mostly over when the last stage is here.
        self.request_mark(ts_ms);
        self.pending.insert(
            gated.session,
            Pending {
                authentic,
                first_source: source,
                tracks: Vec::new(),
                ends: now.mono.saturating_add(self.settings.sequence.longest_session()),
                told: false,
            },
        );
        self.advance_track(now, datagram, gated);
    }

    /// Budget, Diffie-Hellman, AEAD, strict decoding.
    fn open_first(
        &mut self,
        now: Now,
        datagram: Datagram<'_>,
        gated: &Gated,
    ) -> Option<AuthenticRequest> {
        let active = self.cache.active_client(&self.registry, gated.peer.client, now.mono)?;
        // After the look-ups of spent and pending sessions on purpose: copies of seen packets must
        // not empty the budget of the client that made them.
        let refused = active.refused.contains(&gated.session);
        let bucket = if refused { &mut active.again } else { &mut active.fresh };
        if !bucket.take_token(now.mono) {
            self.counters.over_budget += 1;
            return None;
        }
        let registry = &self.registry;
        let opened = active.derive_keys(registry, gated.peer).and_then(|keys| {
            let context = keys.context;
            let (server, pair) =
                (registry.server_secret(gated.peer.by)?, keys.pair_key(registry, gated.peer)?);
            let keys = ServerSession::agree(server, pair, &context, &gated.ephemeral)?;
            let port = datagram.destination.port();
            let request = keys.open(datagram.payload, gated.epoch, gated.stage, port).ok()?;
            Some(AuthenticRequest { peer: gated.peer, keys, request })
        });
        if opened.is_none() {
            self.counters.not_authentic += 1;
            active.remember_bad_signature(gated.session);
        }
        opened
    }

    /// A later packet of a session in progress.
    fn verify_later(&mut self, now: Now, datagram: Datagram<'_>, gated: &Gated) {
        let source = datagram.source.ip();
        let Some(pending) = self.pending.get_mut(&gated.session) else { return };
        let known = pending.tracks.iter().find(|track| track.source == source);
        let foreign = known.is_none();
        let authentic_request = &pending.authentic;
        let bound = authentic_request.request.body.flags.bind_src && source != pending.first_source;
        let done =
            known.is_some_and(|track| gated.stage < track.next || track.is_overdue(now.mono));
        let authentic = !(bound || done)
            && authentic_request
                .keys
                .open(datagram.payload, gated.epoch, gated.stage, datagram.destination.port())
                .is_ok_and(|body| body.same_as(&authentic_request.request));
        let tell = foreign && !pending.told;
        pending.told |= foreign;
        let (client, skew) = (pending.authentic.peer.client, pending.authentic.skew_ms(now));
        if tell {
            self.push_event(EventKind::OtherSource, client, source, skew, Reason::None);
        }
        if authentic {
            self.advance_track(now, datagram, gated);
        } else {
            self.counters.ignored += 1;
        }
    }

    /// The stage is authentic: the source's track moves.
    fn advance_track(&mut self, now: Now, datagram: Datagram<'_>, gated: &Gated) {
        let source = datagram.source.ip();
        let Some(pending) = self.pending.get_mut(&gated.session) else { return };
        let sequence = &self.settings.sequence;
        let track = match pending.tracks.iter_mut().position(|track| track.source == source) {
            Some(at) => pending.tracks.get_mut(at),
            None => {
                // Forged copies may be many and faster than the client, or come between its stages:
                // the newest track makes room, so that neither keeps the client
                // from getting one nor takes it away.
                pending.tracks.truncate(MAX_TRACKS - 1);
                pending.tracks.push(Track::new(source, now.mono, sequence));
                pending.tracks.last_mut()
            }
        };
        match track.map_or(StageOutcome::Ignored, |track| {
            track.take_stage(gated.stage, now.mono, sequence)
        }) {
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
                self.complete_session(now, datagram, gated.session);
            }
        }
    }

    /// Sessions that nobody can complete any more are spent.
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
