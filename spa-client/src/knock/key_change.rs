//! ENROL and REKEY, asked until it is known what came of it.

use std::io;
use std::time::{Duration, Instant};

use spa_keys::{Failure, HostLine, Identity, exit};
use spa_proto::{NewKeys, Op, Reason, Status};

use crate::knock::exchange::{Answer, Knock};
use crate::plan::Plan;

/// How long one address gets before the next one: a lost packet and its repetitions.
const TURN: Duration = Duration::from_secs(3);

/// What came of it.
pub(crate) enum Outcome {
    /// The server has the new keys.
    Done,
    /// It says no, and does not know the new keys either.
    Denied(Reason),
    /// It could not now.
    Busy(Reason),
    /// No answer: nobody knows.
    Silence,
    /// This server never answers: nobody knows.
    Unheard,
    /// Nothing could be sent.
    NotSent(io::Error),
}

/// The new keys of a request.
pub(crate) fn of(identity: &Identity) -> NewKeys<'_> {
    NewKeys { public: identity.public(), secret: identity.secret(), signer: identity }
}

/// The line of the pair that takes the old one's place.
pub(crate) fn successor(old: &Plan, identity: &Identity) -> Result<HostLine, Failure> {
    let new = of(identity);
    let psk = old.pair(|pair| new.psk(&old.line.server, pair)).flatten();
    let psk = psk.ok_or_else(|| Failure::new(exit::CONFIG, "the server's key is not usable"))?;
    Ok(HostLine { psk, client_check: HostLine::check_of(&new.public), ..old.line.clone() })
}

/// Asks with the old pair, and knocks with the new one in between: an answer that was lost is found
/// that way, in this run or the next.
pub(crate) fn ask(old: &Plan, new: &Plan, op: Op) -> Outcome {
    let mut deadline = Instant::now() + old.timeout;
    // Each turn is a session of its own: a touch gets all the time that there is.
    let turn = if old.asks_for_touch() { old.timeout } else { TURN };
    let mut last = Outcome::Silence;
    loop {
        let mut denied = None;
        for address in &old.addresses {
            let mut knock = Knock::new(old, "", *address, op);
            knock.deadline = deadline.min(Instant::now() + turn);
            let answer = knock.until_answered();
            deadline += knock.signing;
            last = match answer {
                Answer::NotSent(error) => Outcome::NotSent(error),
                Answer::Silence if !old.line.ack => Outcome::Unheard,
                Answer::Silence => Outcome::Silence,
                Answer::Ack(ack, _) => match ack.status {
                    Status::Granted => return Outcome::Done,
                    Status::Denied => {
                        denied = Some(ack.reason);
                        break;
                    }
                    Status::Stale | Status::Busy => Outcome::Busy(ack.reason),
                },
            };
        }
        if old.line.ack && knows(new, deadline) {
            return Outcome::Done;
        }
        if let Some(reason) = denied {
            return Outcome::Denied(reason);
        }
        if Instant::now() >= deadline || matches!(last, Outcome::Unheard) {
            return last;
        }
    }
}

/// Whether the server knows this pair: whatever it answers, only it can.
pub(crate) fn knows(new: &Plan, deadline: Instant) -> bool {
    // To close what is not open changes nothing.
    let service = new.line.services.first().map_or("none", |service| service.name.as_str());
    new.addresses.iter().any(|address| {
        let mut knock = Knock::new(new, service, *address, Op::Close);
        knock.deadline =
            deadline.max(Instant::now() + Duration::from_secs(1)).min(Instant::now() + TURN);
        matches!(knock.until_answered(), Answer::Ack(..))
    })
}
