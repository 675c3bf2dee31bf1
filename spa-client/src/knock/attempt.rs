//! One service at one address: the knock, its answer, and the proof by a connection.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use spa_keys::{ServiceProto, printable};
use spa_proto::{Ack, Op, Reason, Status};

use super::Job;
use super::exchange::{Knock, KnockResult, MAX_RESENDS, RESEND_AFTER};
use super::outcome::{Outcome, Verdict};
use super::probe::{ProbeError, connect_until};
use super::relay::close_relayed;
use crate::clock;
use crate::plan::Plan;

/// First connect timeout when the round trip is not known; a service opens in a few milliseconds.
const FIRST_BLIND_PROBE: Duration = Duration::from_millis(20);
/// Shortest first connect timeout after an answer.
const MIN_FIRST_PROBE: Duration = Duration::from_millis(200);

/// Knocks for one service at one address, from the first packet to the proof that it is open, or
/// closed.
pub(crate) fn attempt_job(plan: &Plan, job: &Job) -> Outcome {
    let name = plan.service_name(job.service);
    let mut knock = Knock::new(plan, name, job.address, job.op).with_cancellation(&job.cancelled);
    let port = if job.op == Op::Close { None } else { find_probe_target(plan, name, job) };
    if port.is_none() && job.op != Op::Close {
        plan.log_verbose(|| format!("{}: no TCP port to test", printable(name)));
    }
    let mut outcome = Outcome::without_answer(job.service, job.address.ip());
    if plan.line.ack {
        match knock.knock_until_answered() {
            KnockResult::NotSent(error) => outcome.verdict = Verdict::NotSent(error.to_string()),
            KnockResult::Silence => {}
            KnockResult::Ack(ack, rtt) => {
                outcome.ack = Some((ack, rtt));
                outcome.skew_ms = Some(clock::measure_offset(ack.server_ms));
                outcome.at = clock::read_boot_clock();
                let first = MIN_FIRST_PROBE.max(rtt * 4);
                outcome.verdict = match ack.status {
                    Status::Granted if job.op == Op::Close => Verdict::Closed,
                    Status::Granted if plan.is_relayed(knock.local, ack.observed.ip()) => {
                        close_relayed(plan, job)
                    }
                    Status::Granted => {
                        prove_granted(port, first, knock.deadline, &mut outcome.stream)
                    }
                    _ => refusal_verdict(&ack),
                };
            }
        }
    } else {
        outcome.verdict = knock_without_ack(&mut knock, port, &mut outcome.stream);
    }
    if outcome.ack.is_none() {
        outcome.at = clock::read_boot_clock();
    }
    (outcome.local, outcome.bound) = (knock.local, knock.bound);
    outcome
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

/// Returns the verdict of an answer that is no grant.
fn refusal_verdict(ack: &Ack) -> Verdict {
    match ack.status {
        Status::Busy => Verdict::Busy(ack.reason),
        Status::Stale if ack.reason == Reason::Fence => Verdict::Fence(ack.ttl_s),
        Status::Stale => Verdict::Clock(clock::measure_offset(ack.server_ms)),
        _ => Verdict::Denied(ack.reason),
    }
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
