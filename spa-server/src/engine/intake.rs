//! A datagram comes in: the checks of `docs/protocol.md` up to the sequence, cheapest first.

use spa_proto::{MAX_PACKET, MIN_PACKET, Reason, SealedBody, ServerSession, SessionId};

use super::pending::{Pending, Step, TRACKS, Track};
use super::registry::Who;
use super::{Action, Engine, Event, EventKind, Now};
use crate::domain::datagram::Datagram;

/// A packet that passed the symmetric gate.
struct Gated {
    epoch: u64,
    who: Who,
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
        let Some(gated) = self.gate(now, datagram) else { return };
        if self.pending.get(&gated.session).is_some_and(|pending| pending.late(now.mono)) {
            self.time_out(now, gated.session);
        }
        if self.spent(now, datagram, &gated) {
            return;
        }
        if self.pending.contains_key(&gated.session) {
            self.later(now, datagram, &gated);
        } else {
            self.first(now, datagram, &gated);
        }
    }

    /// Tag, port of the stage, mac: what a stranger's packet does not pass, without any public-key
    /// operation.
    fn gate(&mut self, now: Now, datagram: Datagram<'_>) -> Option<Gated> {
        let mut wrong_port = false;
        let mut wrong_mac = false;
        for (epoch, hit) in self.tables.find(datagram.payload) {
            let Some(who) = self.registry.who(hit.client, now.unix_ms) else { continue };
            let stage = hit.stage;
            if self.settings.sequence.port(epoch, stage, who.by)
                != Some(datagram.destination.port())
            {
                wrong_port = true;
                continue;
            }
            let Some(active) = self.cache.of(&self.registry, who.client, now.mono) else {
                continue;
            };
            let Some(keys) = active.keys(&self.registry, who) else { continue };
            if !keys.gate.mac_is_right(datagram.payload) {
                wrong_mac = true;
                continue;
            }
            let ephemeral = keys.gate.ephemeral(datagram.payload)?;
            let session = SessionId::of_ephemeral(&ephemeral);
            return Some(Gated { epoch, who, stage, ephemeral, session });
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
    fn spent(&mut self, now: Now, datagram: Datagram<'_>, gated: &Gated) -> bool {
        let last = gated.stage + 1 == self.settings.sequence.stages();
        let source = datagram.source.ip();
        let Some(entry) = self.used.get(gated.session) else { return false };
        if let Some(bytes) = if last && self.settings.ack { entry.repeat_ack(source) } else { None }
        {
            self.counters.ignored += 1;
            self.act(Action::Ack {
                from: datagram.destination,
                to: datagram.source,
                way: datagram.way,
                bytes,
            });
            return true;
        }
        let tell = !entry.is_home(source) && entry.tell_once();
        let skew_ms = entry.skew_ms(now);
        self.counters.replayed += 1;
        if tell {
            self.log(EventKind::Replay, gated.who.client, source, skew_ms, Reason::None);
        }
        true
    }

    /// The first packet of a session, whichever stage it is: the only one that costs public-key
    /// operations.
    fn first(&mut self, now: Now, datagram: Datagram<'_>, gated: &Gated) {
        let source = datagram.source.ip();
        let Some((keys, request)) = self.open_first(now, datagram, gated) else { return };
        let Some(view) = self.registry.client(gated.who.client) else { return };
        let client_key = view.public.sign;
        if !keys.verify(view.public, &request, source) {
            self.counters.bad_signature += 1;
            let active = self.cache.of(&self.registry, gated.who.client, now.mono);
            if active.is_some_and(|active| active.tell(gated.session, now.mono)) {
                let skew = skew(&request, now);
                self.log(EventKind::BadSignature, gated.who.client, source, skew, Reason::None);
            }
            return;
        }
        let floor = self.used.floor_ms(&client_key);
        let (ts_ms, started_ms) = (request.body.ts_ms, self.started_ms(now));
        if let Err(reason) = self.freshness.check(ts_ms, floor, started_ms, &self.settings, now) {
            self.stale(now, datagram, gated.session, gated.who, &keys, &request, reason);
            return;
        }
        // The disk write starts now and is mostly over when the last stage is here.
        if let Some(mark) = self.freshness.ask(request.body.ts_ms) {
            self.act(Action::Record(mark));
        }
        self.pending.insert(
            gated.session,
            Pending {
                who: gated.who,
                keys,
                request,
                first_source: source,
                tracks: Vec::new(),
                ends: now.mono.saturating_add(self.settings.sequence.longest()),
                told: false,
            },
        );
        self.step(now, datagram, gated);
    }

    /// Budget, Diffie-Hellman, AEAD, strict decoding.
    fn open_first(
        &mut self,
        now: Now,
        datagram: Datagram<'_>,
        gated: &Gated,
    ) -> Option<(ServerSession, SealedBody)> {
        let active = self.cache.of(&self.registry, gated.who.client, now.mono)?;
        // After the look-ups of spent and pending sessions on purpose: copies of seen packets must
        // not empty the budget of the client that made them.
        let refused = active.refused.contains(&gated.session);
        let bucket = if refused { &mut active.again } else { &mut active.fresh };
        if !bucket.take(now.mono) {
            self.counters.over_budget += 1;
            return None;
        }
        let registry = &self.registry;
        let opened = active.keys(registry, gated.who).and_then(|keys| {
            let context = keys.context;
            let (server, pair) = (registry.secret(gated.who.by)?, keys.pair(registry, gated.who)?);
            let keys = ServerSession::agree(server, pair, &context, &gated.ephemeral)?;
            let port = datagram.destination.port();
            let request = keys.open(datagram.payload, gated.epoch, gated.stage, port).ok()?;
            Some((keys, request))
        });
        if opened.is_none() {
            self.counters.not_authentic += 1;
            active.refuse(gated.session);
        }
        opened
    }

    /// A later packet of a session in progress.
    fn later(&mut self, now: Now, datagram: Datagram<'_>, gated: &Gated) {
        let source = datagram.source.ip();
        let Some(pending) = self.pending.get_mut(&gated.session) else { return };
        let known = pending.tracks.iter().find(|track| track.source == source);
        let foreign = known.is_none();
        let bound = pending.request.body.flags.bind_src && source != pending.first_source;
        let done = known.is_some_and(|track| gated.stage < track.next || track.late(now.mono));
        let authentic = !(bound || done)
            && pending
                .keys
                .open(datagram.payload, gated.epoch, gated.stage, datagram.destination.port())
                .is_ok_and(|body| body.same_as(&pending.request));
        let tell = foreign && !pending.told;
        pending.told |= foreign;
        let (client, skew) = (pending.who.client, skew(&pending.request, now));
        if tell {
            self.log(EventKind::OtherSource, client, source, skew, Reason::None);
        }
        if authentic {
            self.step(now, datagram, gated);
        } else {
            self.counters.ignored += 1;
        }
    }

    /// The stage is authentic: the source's track moves.
    fn step(&mut self, now: Now, datagram: Datagram<'_>, gated: &Gated) {
        let source = datagram.source.ip();
        let Some(pending) = self.pending.get_mut(&gated.session) else { return };
        let sequence = &self.settings.sequence;
        let track = match pending.tracks.iter_mut().position(|track| track.source == source) {
            Some(at) => pending.tracks.get_mut(at),
            None => {
                // Forged copies may be many and faster than the client, or come between its stages:
                // the newest track makes room, so that neither keeps the client
                // from getting one nor takes it away.
                pending.tracks.truncate(TRACKS - 1);
                pending.tracks.push(Track::new(source, now.mono, sequence));
                pending.tracks.last_mut()
            }
        };
        match track.map_or(Step::Ignored, |track| track.step(gated.stage, now.mono, sequence)) {
            Step::Ignored => self.counters.ignored += 1,
            Step::Held => self.counters.stages += 1,
            Step::Accepted => {
                self.counters.stages += 1;
                if self.settings.mark_sequence {
                    let ttl = self.settings.sequence.timeout;
                    self.act(Action::InSequence { source, ttl });
                }
            }
            Step::Complete => {
                self.counters.stages += 1;
                self.complete(now, datagram, gated.session);
            }
        }
    }

    /// Sessions that nobody can complete any more are spent.
    pub(super) fn expire_pending(&mut self, now: Now) {
        let pending = self.pending.iter().filter(|(_, pending)| pending.late(now.mono));
        let late: Vec<SessionId> = pending.map(|(session, _)| *session).collect();
        late.into_iter().for_each(|session| self.time_out(now, session));
    }

    fn time_out(&mut self, now: Now, session: SessionId) {
        let Some(pending) = self.pending.remove(&session) else { return };
        let Some(view) = self.registry.client(pending.who.client) else { return };
        let key = view.public.sign;
        self.spend(session, key, pending.request.body.ts_ms, false, now);
        // Its own packets that come later still are no replay worth a line.
        self.used.home(session, pending.first_source);
        let skew = skew(&pending.request, now);
        self.log(EventKind::TimedOut, pending.who.client, pending.first_source, skew, Reason::None);
    }

    pub(super) fn log(
        &mut self,
        kind: EventKind,
        client: u32,
        source: std::net::IpAddr,
        skew_ms: i64,
        reason: Reason,
    ) {
        let Some(view) = self.registry.client(client) else { return };
        let client = view.name.into();
        self.act(Action::Log(Event {
            kind,
            client,
            service: None,
            source,
            asked: None,
            network: None,
            took: None,
            skew_ms,
            reason,
            grant: None,
            ttl: None,
            detail: None,
            by: None,
        }));
    }
}

/// The client's time stamp minus our clock, milliseconds.
pub(super) fn skew(request: &SealedBody, now: Now) -> i64 {
    signed_difference(request.body.ts_ms, now.unix_ms)
}

pub(super) fn signed_difference(a: u64, b: u64) -> i64 {
    let apart = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if a >= b { apart } else { -apart }
}
