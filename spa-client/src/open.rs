//! `spa-client open`: every service at every address, at the same time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use spa_keys::{ServiceProto, exit, printable};
use spa_proto::{Reason, Status};

use crate::cli::Open;
use crate::clock;
use crate::knock::{Answer, Knock, RESEND_AFTER, RESENDS};
use crate::plan::Plan;
use crate::probe::{self, Probe};
use crate::report;
use crate::tried::{Tried, Verdict};
use spa_keys::Failure;

/// Once every service is open at one address, the others get this long: enough for one repetition after a lost
/// packet, short enough that a family which leads nowhere does not hold up the user.
const GRACE: Duration = Duration::from_millis(700);
/// Patience of the first connection when the round trip is not known; a service opens in a few milliseconds.
const FIRST_BLIND_PROBE: Duration = Duration::from_millis(20);
const SHORTEST_PROBE: Duration = Duration::from_millis(200);

/// Runs it; the exit code.
pub(crate) fn run(args: &Open) -> Result<u8, Failure> {
    let plan = Arc::new(Plan::make(args)?);
    for service in &plan.services {
        if plan.line.service(service).is_none() {
            let known: Vec<&str> = plan.line.services.iter().map(|service| service.name.as_str()).collect();
            spa_keys::note!(
                "spa-client: {} is not in the enrolment of {} ({}); asking all the same",
                printable(service),
                plan.host,
                if known.is_empty() {
                    "it names none".to_owned()
                } else {
                    format!("there: {}", known.join(", "))
                }
            );
        }
    }
    let jobs: Vec<(usize, SocketAddr)> = (0..plan.services.len())
        .flat_map(|service| plan.addresses.iter().map(move |address| (service, *address)))
        .collect();
    let tried = match jobs.as_slice() {
        // One job needs no thread, which would cost some 50 µs.
        [(service, address)] => vec![attempt(&plan, *service, *address)],
        _ => together(&plan, &jobs)?,
    };
    report::report(&plan, &tried, args.json)
}

fn together(plan: &Arc<Plan>, jobs: &[(usize, SocketAddr)]) -> Result<Vec<Tried>, Failure> {
    let (results, collected) = mpsc::channel();
    for (service, address) in jobs.iter().copied() {
        let (plan, results): (_, Sender<Tried>) = (Arc::clone(plan), results.clone());
        let spawned = thread::Builder::new().spawn(move || {
            // The receiver is gone when the grace is over: then nobody waits for this one.
            let _ = results.send(attempt(&plan, service, address));
        });
        spawned.map_err(|error| Failure::new(exit::FAILURE, format!("no thread: {error}")))?;
    }
    drop(results);
    let mut tried = collect(plan, &collected);
    for (service, address) in jobs {
        if !tried.iter().any(|one| one.service == *service && one.address == address.ip()) {
            tried.push(Tried::unfinished(*service, address.ip()));
        }
    }
    Ok(tried)
}

fn collect(plan: &Plan, collected: &Receiver<Tried>) -> Vec<Tried> {
    let mut tried: Vec<Tried> = Vec::new();
    let mut until = None;
    loop {
        let next = match until {
            None => collected.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(until) => collected.recv_timeout(Instant::saturating_duration_since(&until, Instant::now())),
        };
        match next {
            Ok(one) => tried.push(one),
            Err(_) => return tried,
        }
        let open = |service| tried.iter().any(|one| one.service == service && one.verdict.is_good());
        if until.is_none() && (0..plan.services.len()).all(open) {
            until = Some(Instant::now() + GRACE);
        }
    }
}

/// One service at one address, from the first packet to the proof that it is open.
fn attempt(plan: &Plan, service: usize, address: SocketAddr) -> Tried {
    let name = plan.services.get(service).map_or("", String::as_str);
    let mut knock = Knock::new(plan, name, address);
    let port = plan
        .line
        .service(name)
        .filter(|service| service.proto == ServiceProto::Tcp)
        .map(|service| SocketAddr::new(address.ip(), service.port))
        .map(|port| with_scope(port, address));
    if port.is_none() {
        plan.tell(|| format!("{}: no TCP port to test", printable(name)));
    }
    let (verdict, ack) = if plan.line.ack {
        match knock.until_answered() {
            Answer::NotSent(error) => (Verdict::NotSent(error.to_string()), None),
            Answer::Silence => (Verdict::Silence, None),
            Answer::Ack(ack, rtt) => {
                let verdict = match ack.status {
                    Status::Granted => granted(port, SHORTEST_PROBE.max(rtt * 4), knock.deadline),
                    Status::Denied => Verdict::Denied(ack.reason),
                    Status::Busy => Verdict::Busy(ack.reason),
                    Status::Stale if ack.reason == Reason::Fence => Verdict::Fence(ack.ttl_s),
                    Status::Stale => Verdict::Clock(offset(ack.server_ms)),
                };
                (verdict, Some((ack, rtt)))
            }
        }
    } else {
        (blind(&mut knock, port), None)
    };
    Tried { service, address: address.ip(), local: knock.local, bound: knock.bound, ack, verdict }
}

/// A link-local address is nothing without its interface.
fn with_scope(mut port: SocketAddr, address: SocketAddr) -> SocketAddr {
    if let (SocketAddr::V6(port), SocketAddr::V6(address)) = (&mut port, address) {
        port.set_scope_id(address.scope_id());
    }
    port
}

fn granted(port: Option<SocketAddr>, first: Duration, deadline: Instant) -> Verdict {
    let Some(port) = port else { return Verdict::Open { probed: false } };
    // An answer in the last moment still deserves one honest try.
    match probe::probe(port, first, deadline.max(Instant::now() + first)) {
        Probe::Reachable => Verdict::Open { probed: true },
        Probe::Refused => Verdict::Refused,
        Probe::Silent => Verdict::Unreachable,
    }
}

/// A server that never answers: the service itself is the answer. A refused connection proves nothing here, since a
/// hidden port may refuse as a closed one does.
fn blind(knock: &mut Knock<'_>, port: Option<SocketAddr>) -> Verdict {
    let mut sent = false;
    loop {
        let live = match knock.fresh() {
            Ok(live) => live,
            Err(error) if !sent => return Verdict::NotSent(error.to_string()),
            Err(_) => return Verdict::Silence,
        };
        for round in 0..=RESENDS {
            match knock.transmit(&live, round) {
                Err(error) if !sent => return Verdict::NotSent(error.to_string()),
                _ => sent = true,
            }
            let Some(port) = port else { return Verdict::Asked };
            let until = knock.deadline.min(Instant::now() + RESEND_AFTER);
            if probe::probe(port, FIRST_BLIND_PROBE, until) == Probe::Reachable {
                return Verdict::Open { probed: true };
            }
            if Instant::now() >= knock.deadline {
                return Verdict::Silence;
            }
        }
    }
}

/// Our clock minus the server's, milliseconds.
fn offset(server_ms: u64) -> i64 {
    let ours = i64::try_from(clock::now_ms()).unwrap_or(i64::MAX);
    ours.saturating_sub(i64::try_from(server_ms).unwrap_or(i64::MAX))
}
