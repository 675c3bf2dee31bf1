//! CONFIRM: the server has opened for whoever's packets came first, and tells each source its
//! address. Naming the one that it told us keeps the grant for us and ends it for everybody else.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use spa_proto::{Ack, Confirm, MAX_CONFIRMS, Status};

use super::exchange::{Knock, MAX_RESENDS, RESEND_AFTER};
use super::live_session::LiveSession;
use super::random::random_padding;

/// Time after the first answer in which the server takes CONFIRMs; it keeps a session for 30 s.
const CONFIRM_TIME: Duration = Duration::from_secs(25);

/// Address that an answer told us.
struct ToldAddress {
    address: IpAddr,
    /// CONFIRMs that named it.
    named: u32,
}

/// Confirmation of one session's grant.
pub(crate) struct Confirming {
    live: LiveSession,
    /// In the order in which they were told.
    told: Vec<ToldAddress>,
    packet: Vec<u8>,
    /// No CONFIRM counts any more.
    until: Instant,
}

/// Outcome of a confirmation.
pub(crate) enum Confirmed {
    /// There was nothing to confirm.
    NotNeeded,
    /// The server's answer, which is a grant.
    Granted(Ack),
    /// The server's answer, which is none.
    Refused(Ack),
    /// Nobody knows: another session is needed.
    Lost,
}

impl Confirming {
    /// Sends the first CONFIRM, when the answered session wants one; its answer may wait until the
    /// service has been tried.
    pub(super) fn begin(knock: &mut Knock<'_>, ack: &Ack) -> Option<Self> {
        let live = knock.unconfirmed.take()?;
        let until = Instant::now() + CONFIRM_TIME;
        let mut this = Self { live, told: Vec::new(), packet: Vec::new(), until };
        this.note_told(ack);
        this.send_next(knock);
        Some(this)
    }

    fn note_told(&mut self, ack: &Ack) {
        let address = ack.observed.ip();
        if ack.provisional && !self.told.iter().any(|told| told.address == address) {
            self.told.push(ToldAddress { address, named: 0 });
        }
    }

    /// Addresses that the server has seen this session come from; above one, somebody copies our
    /// packets or the network changes our address.
    pub(super) fn count_told(&self) -> usize {
        self.told.len()
    }

    /// Names the address that was named least often so far; false: no number or time is left.
    fn send_next(&mut self, knock: &Knock<'_>) -> bool {
        if Instant::now() >= self.until {
            return false;
        }
        let next = self.told.iter_mut().min_by_key(|told| told.named);
        let Some(told) = next.filter(|_| self.live.confirms < MAX_CONFIRMS) else { return false };
        told.named += 1;
        self.live.confirms += 1;
        let confirm = Confirm { number: self.live.confirms, address: told.address };
        knock.log_verbose(|| format!("confirming {} (number {})", confirm.address, confirm.number));
        self.packet =
            self.live.session.make_confirm(&self.live.keys.pair, &confirm, random_padding());
        self.live.send_confirm(&self.packet);
        true
    }

    /// Waits for the answer to the CONFIRM under way, and repeats it.
    pub(super) fn settle(&mut self, knock: &Knock<'_>) -> Confirmed {
        loop {
            for round in 0..=MAX_RESENDS {
                if let Some(ack) = self.receive_answer(knock, Instant::now() + RESEND_AFTER) {
                    return match ack.status {
                        Status::Granted => Confirmed::Granted(ack),
                        Status::Busy | Status::Stale => Confirmed::Lost,
                        Status::Denied => Confirmed::Refused(ack),
                    };
                }
                if knock.is_over() || Instant::now() >= self.until {
                    return Confirmed::Lost;
                }
                if round < MAX_RESENDS {
                    self.live.repeat_last_stage();
                    self.live.send_confirm(&self.packet);
                }
            }
            if !self.send_next(knock) {
                return Confirmed::Lost;
            }
        }
    }

    /// Receives until the present CONFIRM is answered; what else is told is noted.
    fn receive_answer(&mut self, knock: &Knock<'_>, until: Instant) -> Option<Ack> {
        loop {
            let ack = knock.receive_answer(&self.live, until.min(self.until)).ok()??.ack;
            if ack.number == self.live.confirms {
                return Some(ack);
            }
            if ack.number == 0 {
                self.note_told(&ack);
            }
        }
    }

    /// The grant is confirmed and leads nowhere: asks the server where else it has seen this
    /// session come from, and names the address that is next. Somebody between us and the server
    /// may have given us the answer that told his own, and his turn may have come after ours while
    /// the service was slow.
    pub(super) fn confirm_another(&mut self, knock: &Knock<'_>) -> Confirmed {
        self.live.repeat_last_stage();
        let soon = Instant::now() + RESEND_AFTER;
        while let Ok(Some(answer)) = knock.receive_answer(&self.live, soon) {
            self.note_told(&answer.ack);
            if self.has_unnamed() {
                break;
            }
        }
        match self.told.len() {
            0 | 1 => Confirmed::NotNeeded,
            _ if self.send_next(knock) => self.settle(knock),
            _ => Confirmed::Lost,
        }
    }

    fn has_unnamed(&self) -> bool {
        self.told.iter().any(|told| told.named == 0)
    }
}
