//! One service at one address: the knock, its answer, and the proof by a connection.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use spa_keys::{ServiceProto, printable};
use spa_proto::{Op, Status};

use super::Job;
use super::confirm::{Confirmed, Confirming};
use super::exchange::{Knock, KnockResult, MAX_RESENDS, RESEND_AFTER};
use super::outcome::{Outcome, Verdict};
use super::probe::{Connecting, ProbeError, connect_until};
use super::relay::close_relayed;
use crate::clock;
use crate::plan::Plan;

/// First connect timeout when the round trip is not known; a service opens in a few milliseconds.
const FIRST_BLIND_PROBE: Duration = Duration::from_millis(20);
/// Time that a confirmed service gets to answer before another address is confirmed.
const MIN_CONFIRMED_PROBE: Duration = Duration::from_secs(1);
/// Shortest time for a connection that was begun before the CONFIRM was answered.
const MIN_EARLY_PATIENCE: Duration = Duration::from_millis(20);
/// Shortest first connect timeout after an answer.
const MIN_FIRST_PROBE: Duration = Duration::from_millis(200);

/// Knocks for one service at one address, from the first packet to the proof that it is open, or
/// closed.
pub(crate) fn attempt_job(plan: &Plan, job: &Job) -> Outcome {
    let name = plan.service_name(job.service);
    let mut knock = Knock::new(plan, name, job.address, job.op).with_cancellation(&job.cancelled);
    let port = if job.op == Op::Close { None } else { find_probe_target(plan, name, job) };
    knock = knock.with_test_port(port);
    knock.for_addr = job.for_addr;
    if port.is_none() && job.op != Op::Close {
        plan.log_verbose(|| format!("{}: no TCP port to test", printable(name)));
    }
    let mut outcome = Outcome::without_answer(job.service, job.address.ip());
    if plan.line.ack {
        outcome.verdict = loop {
            match attempt_session(plan, job, &mut knock, port, &mut outcome) {
                Some(verdict) => break verdict,
                None if knock.is_over() => break Verdict::Silence,
                None => {}
            }
        };
    } else {
        outcome.verdict = knock_without_ack(&mut knock, port, &mut outcome.stream);
    }
    if outcome.ack.is_none() {
        outcome.at = clock::read_boot_clock();
    }
    knock.describe_path(&mut outcome);
    outcome
}

/// Makes one session and proves what it opened; `None` when its grant could not be confirmed, so
/// that another session is needed.
fn attempt_session(
    plan: &Plan,
    job: &Job,
    knock: &mut Knock<'_>,
    port: Option<SocketAddr>,
    outcome: &mut Outcome,
) -> Option<Verdict> {
    let (ack, rtt) = match knock.knock_until_answered() {
        KnockResult::NotSent(error) => return Some(Verdict::NotSent(error.to_string())),
        KnockResult::Silence => return Some(Verdict::Silence),
        KnockResult::NotHidden(stream) => {
            outcome.open_port = stream.peer_addr().ok().map(|peer| peer.port());
            outcome.stream = Some(stream);
            return Some(Verdict::NotHidden);
        }
        KnockResult::Translated(ack, rtt) => {
            outcome.note_answer(ack, rtt);
            return Some(Verdict::Translated);
        }
        KnockResult::Ack(ack, rtt) => (ack, rtt),
    };
    outcome.note_answer(ack, rtt);
    if ack.status != Status::Granted {
        return Some(Verdict::of_refusal(&ack));
    }
    if job.op == Op::Close {
        return Some(Verdict::Closed);
    }
    if knock.is_relayed(&ack) {
        return Some(close_relayed(plan, job, ack.observed.ip()));
    }
    let mut confirming = Confirming::begin(knock, &ack);
    let first = MIN_FIRST_PROBE.max(rtt * 4);
    // Before the CONFIRM is answered: it is open already, unless a copy of ours was faster.
    let mut early = port.and_then(Connecting::start);
    let (mut confirmed, patience) = match &mut confirming {
        // A first packet that came before the door was ours is lost: what the kernel waits before
        // its second one is longer than a new connection takes.
        Some(confirming) => (confirming.settle(knock), MIN_EARLY_PATIENCE.max(rtt).min(first)),
        None => (Confirmed::NotNeeded, first),
    };
    loop {
        match confirmed {
            Confirmed::NotNeeded => {}
            Confirmed::Granted(ack) => {
                outcome.ack = Some((ack, rtt));
                if port.is_none() && confirming.as_ref().is_some_and(|one| one.count_told() > 1) {
                    spa_keys::note!(
                        "spa-client: {} has seen this knock come from several addresses; somebody \
                         copies your packets, or your network changes its address",
                        plan.host
                    );
                }
            }
            Confirmed::Refused(ack) => {
                outcome.ack = Some((ack, rtt));
                return Some(Verdict::of_refusal(&ack));
            }
            Confirmed::Lost => return None,
        }
        if let Some(stream) = early.take().and_then(|early| early.finish(patience)) {
            outcome.stream = Some(stream);
            return Some(Verdict::Open { probed: true });
        }
        let Some(confirming) = &mut confirming else {
            return Some(prove_granted(port, first, knock.deadline, &mut outcome.stream));
        };
        let soon = Instant::now() + MIN_CONFIRMED_PROBE.max(rtt * 4);
        let verdict = prove_granted(port, first, soon, &mut outcome.stream);
        if verdict != Verdict::Unreachable || knock.is_over() {
            return Some(verdict);
        }
        confirmed = confirming.confirm_another(knock);
    }
}

/// Finds the address and port where a connection proves that the service is open.
fn find_probe_target(plan: &Plan, name: &str, job: &Job) -> Option<SocketAddr> {
    let own = || plan.line.service(name).filter(|service| service.proto == ServiceProto::Tcp);
    let port = job.port.or_else(|| own().map(|service| service.port))?;
    let mut target = job.address;
    // The rest stays: a link-local address is nothing without its interface.
    target.set_port(port);
    Some(target)
}

/// Proves a grant by a connection, if there is a port to test.
fn prove_granted(
    port: Option<SocketAddr>,
    first: Duration,
    deadline: Instant,
    proof: &mut Option<TcpStream>,
) -> Verdict {
    let Some(port) = port else { return Verdict::Open { probed: false } };
    // An answer in the last moment still deserves one honest try.
    match connect_until(port, first, deadline.max(Instant::now() + first)) {
        Ok(stream) => {
            *proof = Some(stream);
            Verdict::Open { probed: true }
        }
        Err(ProbeError::Refused) => Verdict::Refused,
        Err(ProbeError::Silent) => Verdict::Unreachable,
    }
}

/// Knocks at a server that never answers: the service itself is the answer. A refused connection
/// proves nothing here, since a hidden port may refuse as a closed one does.
fn knock_without_ack(
    knock: &mut Knock<'_>,
    port: Option<SocketAddr>,
    proof: &mut Option<TcpStream>,
) -> Verdict {
    let mut sent = false;
    loop {
        let live = match knock.start_session() {
            Ok(live) => live,
            Err(error) if !sent => return Verdict::NotSent(error.to_string()),
            Err(_) => return Verdict::Silence,
        };
        // A session that cost a touch is repeated as long as there is time.
        let rounds = if knock.is_last_touch() { usize::MAX } else { MAX_RESENDS };
        for round in 0..=rounds {
            match knock.send_stages(&live, round) {
                Err(error) if !sent => return Verdict::NotSent(error.to_string()),
                _ => sent = true,
            }
            let Some(port) = port else { return Verdict::Asked };
            let until = knock.deadline.min(Instant::now() + RESEND_AFTER);
            if let Ok(stream) = connect_until(port, FIRST_BLIND_PROBE, until) {
                *proof = Some(stream);
                return Verdict::Open { probed: true };
            }
            if knock.is_over() {
                return Verdict::Silence;
            }
        }
        knock.switch_server_key();
    }
}
