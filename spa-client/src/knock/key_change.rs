//! ENROL and REKEY, asked until it is known what came of it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use spa_keys::{Service, ServiceProto};
use spa_proto::{Op, Psk, Reason, Status};

use super::exchange::{Knock, KnockResult};
use super::outcome::{Outcome, Verdict};
use crate::plan::Plan;

/// Time for one address before the next one: a lost packet and its repetitions.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(3);

/// Result of a request for new keys.
pub(crate) enum KeyChange {
    /// The server has the new keys, and this is the pair's new psk.
    Done(Psk),
    /// This server never answers: nobody knows.
    Unheard,
    /// It has not, or nobody knows: what came of the last request at each address.
    Failed(Vec<Outcome>),
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
    let mut deadline = old.knock_deadline();
    let mut forms = kem.forms();
    loop {
        let (last, form, excused) = request_once(old, op, &forms, deadline);
        deadline += excused;
        let outcomes = match last {
            KeyChange::Failed(outcomes) => outcomes,
            settled => return settled,
        };
        let answered =
            |wanted: fn(&Verdict) -> bool| outcomes.iter().any(|one| wanted(&one.verdict));
        // Another moment changes nothing about these; fence and floor have been waited for once.
        let is_settled = |verdict: &Verdict| {
            matches!(
                verdict,
                Verdict::Clock(_) | Verdict::Fence(_) | Verdict::Floor(_) | Verdict::Translated
            )
        };
        if answered(is_settled) {
            return KeyChange::Failed(outcomes);
        }
        if old.line.ack && kem != KemUse::Always && is_known(new, deadline) {
            return KeyChange::Done(new.line.psk.clone());
        }
        // What an earlier request in the other form has brought about is told to that form.
        if answered(|verdict| *verdict == Verdict::Denied(Reason::NewKeys)) && forms.len() > 1 {
            forms.retain(|other| *other != form);
            continue;
        }
        let is_denied = answered(|verdict| matches!(verdict, Verdict::Denied(_)));
        if is_denied || Instant::now() >= deadline {
            return KeyChange::Failed(outcomes);
        }
    }
}

/// Requests new keys once at each address in each form, until one decides; with the last form, and
/// the time that does not count.
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
    let (mut outcomes, mut last_form) = (Vec::new(), false);
    let (mut excused, mut unheard) = (Duration::ZERO, false);
    let tcp = |service: &&Service| old.line.ack && service.proto == ServiceProto::Tcp;
    let port = old.line.services.iter().find(tcp).map(|service| service.port);
    for address in &old.addresses {
        let mut outcome = Outcome::without_answer(0, address.ip());
        for &form in forms {
            last_form = form;
            let test = port.map(|port| with_port(*address, port));
            let mut knock = Knock::new(old, "", *address, op).with_test_port(test);
            knock.kem = form;
            knock.deadline = (deadline + excused).min(Instant::now() + turn);
            let answer = knock.knock_until_answered();
            excused += knock.excused;
            match answer {
                KnockResult::NotSent(error) => {
                    outcome.verdict = Verdict::NotSent(error.to_string());
                }
                KnockResult::Silence => unheard |= !old.line.ack,
                KnockResult::NotHidden(_) => outcome.open_port = port,
                KnockResult::Translated(ack, rtt) => {
                    outcome.note_answer(ack, rtt);
                    outcome.verdict = Verdict::Translated;
                }
                KnockResult::Ack(ack, rtt) => {
                    outcome.note_answer(ack, rtt);
                    match old.successor_psk(form, knock.ciphertext.as_ref()) {
                        _ if ack.status != Status::Granted => {
                            outcome.verdict = Verdict::of_refusal(&ack);
                        }
                        Some(psk) => return (KeyChange::Done(psk), form, excused),
                        // It has left out what makes the psk.
                        None => {}
                    }
                }
            }
            knock.describe_path(&mut outcome);
            if outcome.verdict != Verdict::Silence {
                break;
            }
        }
        let decides = matches!(outcome.verdict, Verdict::Denied(_) | Verdict::Clock(_));
        outcomes.push(outcome);
        if decides {
            break;
        }
    }
    let settled = if unheard { KeyChange::Unheard } else { KeyChange::Failed(outcomes) };
    (settled, last_form, excused)
}

/// Returns the address with this port; the rest stays, an interface among it.
fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
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
