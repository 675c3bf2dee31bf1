//! ENROL and REKEY, asked until it is known what came of it.

use std::io;
use std::time::{Duration, Instant};

use spa_proto::{Op, Reason, Status};

use super::exchange::{Knock, KnockResult};
use crate::plan::Plan;

/// Time for one address before the next one: a lost packet and its repetitions.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(3);

/// Result of a request for new keys.
pub(crate) enum KeyChange {
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

/// Requests new keys with the old pair, and knocks with the new one in between: an answer that was
/// lost is found that way, in this run or the next.
pub(crate) fn request_key_change(old: &Plan, new: &Plan, op: Op) -> KeyChange {
    let mut deadline = Instant::now() + old.timeout;
    // Each turn is a session of its own: a touch gets all the time that there is.
    let turn = if old.asks_for_touch() { old.timeout } else { ADDRESS_TIMEOUT };
    let mut last = KeyChange::Silence;
    loop {
        let mut denied = None;
        for address in &old.addresses {
            let mut knock = Knock::new(old, "", *address, op);
            knock.deadline = deadline.min(Instant::now() + turn);
            let answer = knock.knock_until_answered();
            deadline += knock.signing;
            last = match answer {
                KnockResult::NotSent(error) => KeyChange::NotSent(error),
                KnockResult::Silence if !old.line.ack => KeyChange::Unheard,
                KnockResult::Silence | KnockResult::NotHidden(_) => KeyChange::Silence,
                KnockResult::Ack(ack, _) => match ack.status {
                    Status::Granted => return KeyChange::Done,
                    Status::Denied => {
                        denied = Some(ack.reason);
                        break;
                    }
                    Status::Stale | Status::Busy => KeyChange::Busy(ack.reason),
                },
            };
        }
        if old.line.ack && is_known(new, deadline) {
            return KeyChange::Done;
        }
        if let Some(reason) = denied {
            return KeyChange::Denied(reason);
        }
        if Instant::now() >= deadline || matches!(last, KeyChange::Unheard) {
            return last;
        }
    }
}

/// Returns true if the server knows this pair: whatever it answers, only it can.
pub(crate) fn is_known(new: &Plan, deadline: Instant) -> bool {
    // To close a service that no server has changes nothing: a name cannot be empty.
    let service = "";
    new.addresses.iter().any(|address| {
        let mut knock = Knock::new(new, service, *address, Op::Close);
        knock.deadline = deadline
            .max(Instant::now() + Duration::from_secs(1))
            .min(Instant::now() + ADDRESS_TIMEOUT);
        matches!(knock.knock_until_answered(), KnockResult::Ack(..))
    })
}
