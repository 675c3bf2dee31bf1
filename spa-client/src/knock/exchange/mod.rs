//! One service knocked for at one address: send, resend, wait for the ack.

mod start;

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use spa_proto::{Ack, Answer, KemCiphertext, Op, Reason, Status};

use super::icmp::IcmpError;
use super::live_session::{LiveSession, Received};
use super::outcome::Outcome;
use super::random::{random_byte, random_pause};
use crate::clock;
use crate::plan::Plan;

/// Time without an ack after which the same bytes are sent again (docs/protocol.md, "Sequence").
pub(crate) const RESEND_AFTER: Duration = Duration::from_millis(600);
/// Times the same bytes are sent again before a new session is made.
pub(crate) const MAX_RESENDS: usize = 3;
/// Time that a port gets to answer which nothing may hide.
const TEST_PATIENCE: Duration = Duration::from_millis(300);
/// Longest wait that a server may ask of us, for its fence or our floor: the longest fence, rounded
/// up.
const MAX_WAIT_S: u16 = 61;

/// Result of a knock.
pub(crate) enum KnockResult {
    /// An answer that trying again at once would not change, and how long it took.
    Ack(Ack, Duration),
    /// Nothing.
    Silence,
    /// No answer, and the port to test takes this connection all the same.
    NotHidden(TcpStream),
    /// No answer to a knock that names our address, and this one to the question under which
    /// address the server sees us: another one.
    Translated(Ack, Duration),
    /// Nothing could be sent.
    NotSent(io::Error),
}

/// Knock for one service at one address.
pub(crate) struct Knock<'a> {
    plan: &'a Plan,
    service: &'a str,
    target: SocketAddr,
    op: Op,
    /// Set when nobody waits for the answer any more.
    cancelled: Option<&'a AtomicBool>,
    /// Time to give up.
    pub(crate) deadline: Instant,
    /// Our own address at the last session.
    pub(crate) local: Option<IpAddr>,
    /// Set when the last session was bound to it.
    pub(crate) bound: bool,
    /// Address to close at, where it is not the one that a bound session names.
    pub(crate) for_addr: Option<IpAddr>,
    /// Set when new keys bring an ML-KEM key.
    pub(super) kem: bool,
    /// Ciphertext of the last answer, which makes the new psk.
    pub(super) ciphertext: Option<KemCiphertext>,
    /// The last session, when its grant is to be confirmed.
    pub(super) unconfirmed: Option<LiveSession>,
    /// Last error that the network has reported on our packets.
    pub(crate) icmp: Cell<Option<IcmpError>>,
    /// Port to test once when no key of the server is answered.
    test_port: Option<SocketAddr>,
    /// Set when only the address that the server sees is of interest.
    asks_how_seen: bool,
    /// Set when that was asked.
    asked_how_seen: bool,
    /// Time that does not count: signing, since a touch is the user's, and waits that the server
    /// has asked for.
    pub(crate) excused: Duration,
    sent_any: bool,
    /// Our clock minus the server's, in milliseconds, once the server has found our time wrong;
    /// nobody keeps it.
    clock_offset_ms: Option<i64>,
    /// Turn, which chooses one of the server's keys.
    turn: usize,
}

impl<'a> Knock<'a> {
    /// Makes a knock that gives up after the plan's timeout.
    pub(crate) fn new(plan: &'a Plan, service: &'a str, target: SocketAddr, op: Op) -> Self {
        let deadline = plan.knock_deadline();
        Self {
            plan,
            service,
            target,
            op,
            cancelled: None,
            deadline,
            local: None,
            bound: false,
            for_addr: None,
            kem: false,
            ciphertext: None,
            unconfirmed: None,
            icmp: Cell::default(),
            test_port: None,
            asks_how_seen: false,
            asked_how_seen: false,
            excused: Duration::ZERO,
            sent_any: false,
            clock_offset_ms: None,
            turn: 0,
        }
    }

    /// Tries this port when nothing answers: where nothing hides it, that is worth more than a
    /// knock.
    pub(crate) fn with_test_port(mut self, port: Option<SocketAddr>) -> Self {
        self.test_port = port;
        self
    }

    /// Gives up soon after this flag is set.
    pub(crate) fn with_cancellation(mut self, cancelled: &'a AtomicBool) -> Self {
        self.cancelled = Some(cancelled);
        self
    }

    /// Notes in an outcome which way the packets went.
    pub(super) fn describe_path(&self, outcome: &mut Outcome) {
        (outcome.local, outcome.bound) = (self.local, self.bound);
        outcome.icmp = self.icmp.get();
    }

    /// Returns true if time is up or nobody waits any more.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
            || self.cancelled.is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    /// Knocks until an answer settles it or time is up.
    pub(crate) fn knock_until_answered(&mut self) -> KnockResult {
        let mut last = KnockResult::Silence;
        let mut has_waited = false;
        let touched = self.plan.asks_for_touch();
        loop {
            self.unconfirmed = None;
            let exchanged = self.start_session().and_then(|live| {
                let answer = self.exchange_session(&live)?;
                Ok(answer.map(|(answer, rtt)| (live, answer, rtt)))
            });
            let exchanged = exchanged.map(|answered| {
                answered.map(|(live, answer, rtt)| {
                    self.ciphertext = answer.ciphertext;
                    (live, answer.ack, rtt)
                })
            });
            match exchanged {
                Err(error) if !self.sent_any => return KnockResult::NotSent(error),
                // The network went away meanwhile; it may come back.
                Err(_) => self.sleep_within_deadline(RESEND_AFTER),
                Ok(None) if matches!(last, KnockResult::Silence) && self.has_tried_all_keys() => {
                    let tried = self.test_port.take();
                    let stream = tried
                        .and_then(|port| TcpStream::connect_timeout(&port, TEST_PATIENCE).ok());
                    if let Some(stream) = stream {
                        return KnockResult::NotHidden(stream);
                    }
                    match self.ask_how_seen() {
                        Some((ack, rtt)) => return KnockResult::Translated(ack, rtt),
                        None if self.is_last_touch() => return last,
                        None => self.switch_server_key(),
                    }
                }
                // The same bytes went out all the time; whoever touched once is not asked again for
                // nothing.
                Ok(None) if self.is_last_touch() => return last,
                Ok(None) => self.switch_server_key(),
                Ok(Some((live, ack, rtt))) => match (ack.status, ack.reason) {
                    // Once: a server that says so for ever must not extend the user's own limit.
                    (Status::Stale, Reason::Fence | Reason::Floor)
                        if (1..=MAX_WAIT_S).contains(&ack.ttl_s) && !has_waited =>
                    {
                        has_waited = true;
                        self.wait_for_server(ack.reason, ack.ttl_s);
                    }
                    // Once, and for this knock: who says what time it is could else have us sign
                    // for any moment, again and again.
                    (Status::Stale, Reason::Past | Reason::Future)
                        if self.clock_offset_ms.is_none() =>
                    {
                        last = KnockResult::Ack(ack, rtt);
                        self.follow_servers_clock(ack.server_ms);
                    }
                    (Status::Busy, _) if !touched => {
                        last = KnockResult::Ack(ack, rtt);
                        self.sleep_within_deadline(random_pause(100));
                    }
                    _ => {
                        // What goes to somebody else is never confirmed.
                        if ack.provisional && !self.is_relayed(&ack) {
                            self.unconfirmed = Some(live);
                        }
                        return KnockResult::Ack(ack, rtt);
                    }
                },
            }
            if self.is_over() {
                return last;
            }
        }
    }

    /// Returns true if this answer tells of another address than ours must be.
    pub(super) fn is_relayed(&self, ack: &Ack) -> bool {
        self.plan.seen.is_relayed(self.local, self.target.ip(), ack.observed.ip())
    }

    /// Asks once under which address the server sees us, when nothing has answered knocks that name
    /// our own. It is asked by a close of nothing: an open knock without the address would be worth
    /// something to a relay that drops the one with it. The answer, if the address is another one.
    fn ask_how_seen(&mut self) -> Option<(Ack, Duration)> {
        let asks = self.bound && !self.asked_how_seen && !self.plan.asks_for_touch();
        if !asks {
            return None;
        }
        self.asked_how_seen = true;
        let mut ask = Knock::new(self.plan, "", self.target, Op::Close);
        (ask.asks_how_seen, ask.turn, ask.cancelled) = (true, self.turn, self.cancelled);
        ask.clock_offset_ms = self.clock_offset_ms;
        ask.deadline = Instant::now() + RESEND_AFTER * 2;
        let live = ask.start_session().ok()?;
        let (answer, rtt) = ask.exchange_session(&live).ok()??;
        let differs = self.local.is_some_and(|local| local != answer.ack.observed.ip());
        differs.then_some((answer.ack, rtt))
    }

    /// Returns true if a session costs a touch and no other one would tell more: there is no other
    /// key of the server to knock by.
    pub(crate) fn is_last_touch(&self) -> bool {
        self.plan.asks_for_touch() && self.turn + 1 >= self.plan.server_key_count()
    }

    /// Returns true if this turn's key is the last one, or nobody waits for another turn.
    fn has_tried_all_keys(&self) -> bool {
        self.turn + 1 >= self.plan.server_key_count() || self.is_over()
    }

    /// Switches to the server's other key, when it has two: it may have gone back to the old one.
    pub(crate) fn switch_server_key(&mut self) {
        if self.plan.server_key_count() > 1 {
            self.turn = self.turn.wrapping_add(1);
            self.plan.log_verbose(|| {
                let which = if self.turn.is_multiple_of(2) { "new" } else { "old" };
                format!(
                    "{}: no answer; next by the {which} one of the two keys of {}",
                    self.service, self.plan.host
                )
            });
        }
    }

    /// Sends the session, again and again, until its ack comes or its tries are used up.
    fn exchange_session(&mut self, live: &LiveSession) -> io::Result<Option<(Answer, Duration)>> {
        // A session that cost a touch is repeated as long as there is time.
        let rounds = if self.is_last_touch() { usize::MAX } else { MAX_RESENDS };
        for round in 0..=rounds {
            if let Some(answer) = self.send_stages(live, round)? {
                return Ok(Some(answer));
            }
            let sent = Instant::now();
            let until = self.deadline.min(sent + RESEND_AFTER);
            if let Some(answer) = self.receive_answer(live, until)? {
                return Ok(Some((answer, sent.elapsed())));
            }
            if self.is_over() {
                break;
            }
        }
        Ok(None)
    }

    /// Sends all stages: back to back at first, so that opening takes one trip; when repeated,
    /// spread out, in case that a burst is what the path does not let through. An ack may
    /// arrive in the gaps.
    pub(crate) fn send_stages(
        &mut self,
        live: &LiveSession,
        round: usize,
    ) -> io::Result<Option<(Answer, Duration)>> {
        let begun = Instant::now();
        for (stage, (port, packet)) in live.session.packets().iter().enumerate() {
            if round > 0 && stage > 0 {
                // 15 to 40 ms.
                let gap = Duration::from_millis(15 + u64::from(random_byte()) * 26 / 256);
                let until = self.deadline.min(Instant::now() + gap);
                if let Some(answer) = self.receive_answer(live, until)? {
                    return Ok(Some((answer, begun.elapsed())));
                }
            }
            match live.send(*port, packet) {
                Ok(_) => self.sent_any = true,
                Err(error) if !self.sent_any => return Err(error),
                // One packet lost here is as good as lost on the way: the next round sends it
                // again.
                Err(_) => {}
            }
        }
        Ok(None)
    }

    /// Receives the session's own answer, if it comes in time.
    pub(super) fn receive_answer(
        &self,
        live: &LiveSession,
        until: Instant,
    ) -> io::Result<Option<Answer>> {
        while let Some(received) = live.receive(until)? {
            match received {
                Received::Icmp(told) => self.icmp.set(Some(told)),
                Received::Answer(answer) if self.grants_no_time(&answer.ack) => {}
                Received::Answer(answer) => {
                    self.plan.update_server_keys(&live.keys, answer.keys.as_ref());
                    self.plan.record_answer(&live.keys, self.op, &answer.ack);
                    return Ok(Some(answer));
                }
            }
        }
        Ok(None)
    }

    /// Tells whether an answer grants an opening for no time at all: nothing that a server of ours
    /// says, and nobody could act on it.
    fn grants_no_time(&self, ack: &Ack) -> bool {
        matches!(self.op, Op::Open | Op::Renew) && ack.status == Status::Granted && ack.ttl_s == 0
    }

    /// Writes a line with `-v` only.
    pub(super) fn log_verbose(&self, text: impl FnOnce() -> String) {
        self.plan.log_verbose(text);
    }

    fn sleep_within_deadline(&self, time: Duration) {
        let left = self.deadline.saturating_duration_since(Instant::now());
        std::thread::sleep(time.min(left));
    }

    /// Makes the next sessions by the server's clock.
    fn follow_servers_clock(&mut self, server_ms: u64) {
        let offset_ms = clock::measure_offset(server_ms);
        self.clock_offset_ms = Some(offset_ms);
        self.plan.warn_of_clock(offset_ms);
    }

    /// Waits for a server that takes nothing up to its fence, as after a restart without a clean
    /// stop, or up to our floor. It is alive and told how long, so this wait does not count against
    /// the timeout.
    fn wait_for_server(&mut self, reason: Reason, seconds: u16) {
        let wait = Duration::from_secs(u64::from(seconds));
        let (host, seconds) = (&self.plan.host, wait.as_secs());
        if reason == Reason::Fence {
            spa_keys::note!(
                "spa-client: {host} has restarted and will accept knocks again in {seconds} s; \
                 waiting"
            );
        } else {
            spa_keys::note!(
                "spa-client: {host} has accepted later knocks of this client and will accept new \
                 ones in {seconds} s; waiting"
            );
        }
        self.deadline += wait;
        self.excused += wait;
        std::thread::sleep(wait);
    }
}
