//! ENROL and REKEY, asked until it is known what came of it.

use std::io;
use std::time::{Duration, Instant};

use spa_proto::{Op, Psk, Reason, Status};

use super::exchange::{Knock, KnockResult};
use crate::plan::Plan;

/// Time for one address before the next one: a lost packet and its repetitions.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(3);

/// Result of a request for new keys.
pub(crate) enum KeyChange {
    /// The server has the new keys, and this is the pair's new psk.
    Done(Psk),
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

/// Use of an ML-KEM key in a request for new keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum KemUse {
    /// It never does.
    Never,
    /// It does; without an answer to such a request there are no new keys.
    Always,
    /// It does in turns: the enrolment does not say whether the server takes one.
    Tried,
}

impl KemUse {
    /// The forms of a request, the better first: with an ML-KEM key or without.
    fn forms(self) -> Vec<bool> {
        match self {
            Self::Never => vec![false],
            Self::Always => vec![true],
            Self::Tried => vec![true, false],
        }
    }
}

/// Requests new keys with the old pair. Without an ML-KEM key it knocks with the new one in
/// between: an answer that was lost is found that way, in this run or the next. With one only an
/// answer tells the new psk, and the server gives the same one to whoever asks again.
pub(crate) fn request_key_change(old: &Plan, new: &Plan, op: Op, kem: KemUse) -> KeyChange {
    let mut deadline = Instant::now() + old.timeout;
    let mut forms = kem.forms();
    loop {
        let (last, form, signing) = request_once(old, op, &forms, deadline);
        deadline += signing;
        match last {
            KeyChange::Done(psk) => return KeyChange::Done(psk),
            _ if old.line.ack && kem != KemUse::Always && is_known(new, deadline) => {
                return KeyChange::Done(new.line.psk.clone());
            }
            // What an earlier request in the other form has brought about is told to that form.
            KeyChange::Denied(Reason::NewKeys) if forms.len() > 1 => {
                forms.retain(|other| *other != form);
            }
            KeyChange::Denied(reason) => return KeyChange::Denied(reason),
            last if Instant::now() >= deadline || matches!(last, KeyChange::Unheard) => {
                return last;
            }
            _ => {}
        }
    }
}

/// Requests new keys once at each address in each form, until one decides; with the last form, and
/// the time that signing took.
fn request_once(
    old: &Plan,
    op: Op,
    forms: &[bool],
    deadline: Instant,
) -> (KeyChange, bool, Duration) {
    // Each turn is a session of its own: a touch gets all the time that there is.
    let turn = if old.asks_for_touch() { old.timeout } else { ADDRESS_TIMEOUT };
    // A server that does not take a form is silent to it, at every address.
    let turn = turn / u32::try_from(forms.len()).unwrap_or(1);
    let (mut last, mut last_form, mut signing) = (KeyChange::Silence, false, Duration::ZERO);
    for address in &old.addresses {
        for &form in forms {
            last_form = form;
            let mut knock = Knock::new(old, "", *address, op);
            knock.kem = form;
            knock.deadline = (deadline + signing).min(Instant::now() + turn);
            let answer = knock.knock_until_answered();
            signing += knock.signing;
            last = match answer {
                KnockResult::NotSent(error) => KeyChange::NotSent(error),
                KnockResult::Silence if !old.line.ack => KeyChange::Unheard,
                KnockResult::Silence | KnockResult::NotHidden(_) => KeyChange::Silence,
                KnockResult::Ack(ack, _) => match ack.status {
                    Status::Granted => match old.successor_psk(form, knock.ciphertext.as_ref()) {
                        Some(psk) => return (KeyChange::Done(psk), form, signing),
                        // It has left out what makes the psk.
                        None => KeyChange::Silence,
                    },
                    Status::Denied => return (KeyChange::Denied(ack.reason), form, signing),
                    Status::Stale | Status::Busy => KeyChange::Busy(ack.reason),
                },
            };
            if !matches!(last, KeyChange::Silence) {
                break;
            }
        }
    }
    (last, last_form, signing)
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
