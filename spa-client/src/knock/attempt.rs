//! One service at one address, and all of them at the same time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use spa_keys::{Failure, ServiceProto, exit, printable};
use spa_proto::{Ack, Op, Reason, Status};

use crate::clock;
use crate::knock::exchange::{Answer, Knock, RESEND_AFTER, RESENDS};
use crate::knock::outcome::{Tried, Verdict};
use crate::knock::probe::{self, Shut};
use crate::knock::relay;
use crate::plan::Plan;

/// Once every service is open at one address, the others get this long: enough for one repetition
/// after a lost packet, short enough that a family which leads nowhere does not hold up the user.
const GRACE: Duration = Duration::from_millis(700);
/// Patience of the first connection when the round trip is not known; a service opens in a few
/// milliseconds.
const FIRST_BLIND_PROBE: Duration = Duration::from_millis(20);
const SHORTEST_PROBE: Duration = Duration::from_millis(200);

/// What to do at one address.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// Index of the service in the plan.
    pub(crate) service: usize,
    pub(crate) address: SocketAddr,
    pub(crate) op: Op,
    /// TCP port to connect to, when it is not the service's own.
    pub(crate) port: Option<u16>,
    /// Set when nobody waits for the answer any more.
    pub(crate) cancelled: Arc<AtomicBool>,
}

impl Job {
    pub(crate) fn new(service: usize, address: SocketAddr, op: Op) -> Self {
        Self { service, address, op, port: None, cancelled: Arc::default() }
    }
}

/// Says which services the enrolment does not name; they are asked for all the same.
pub(crate) fn note_unknown_services(plan: &Plan) {
    for service in plan.services.iter().filter(|service| plan.line.service(service).is_none()) {
        let known: Vec<&str> =
            plan.line.services.iter().map(|service| service.name.as_str()).collect();
        spa_keys::note!(
            "spa-client: {} is not in the enrolment of {} ({}); asking all the same",
            printable(service),
            plan.host,
            if known.is_empty() {
                "it names none".to_owned()
            } else {
                format!("there: {}", printable(&known.join(", ")))
            }
        );
    }
}

/// Every service of the plan at every address, at the same time. Ends early when each is good at
/// one address.
pub(crate) fn all(plan: &Arc<Plan>, op: Op) -> Result<Vec<Tried>, Failure> {
    let jobs: Vec<Job> = (0..plan.services.len())
        .flat_map(|service| {
            plan.addresses.iter().map(move |address| Job::new(service, *address, op))
        })
        .collect();
    match jobs.as_slice() {
        // One job needs no thread, which would cost some 50 µs.
        [job] => Ok(vec![attempt(plan, job)]),
        _ => together(plan, &jobs),
    }
}

/// Begins a job on a thread of its own; its result goes to this channel.
pub(crate) fn begin<T: Send + 'static>(
    plan: &Arc<Plan>,
    job: Job,
    results: &Sender<T>,
    wrap: fn(Job, Tried) -> T,
) -> Result<(), Failure> {
    let (plan, results) = (Arc::clone(plan), results.clone());
    let spawned = thread::Builder::new().spawn(move || {
        let tried = attempt(&plan, &job);
        // The receiver is gone when nobody waits for this one any more.
        let _ = results.send(wrap(job, tried));
    });
    spawned.map(drop).map_err(|error| Failure::new(exit::FAILURE, format!("no thread: {error}")))
}

fn together(plan: &Arc<Plan>, jobs: &[Job]) -> Result<Vec<Tried>, Failure> {
    let (results, collected) = mpsc::channel();
    for job in jobs {
        begin(plan, job.clone(), &results, |_, tried| tried)?;
    }
    drop(results);
    let mut tried = collect(plan, &collected);
    for job in jobs {
        if !tried.iter().any(|one| one.service == job.service && one.address == job.address.ip()) {
            tried.push(Tried::unfinished(job.service, job.address.ip()));
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
            Some(until) => {
                collected.recv_timeout(Instant::saturating_duration_since(&until, Instant::now()))
            }
        };
        match next {
            Ok(one) => tried.push(one),
            Err(_) => return tried,
        }
        let good =
            |service| tried.iter().any(|one| one.service == service && one.verdict.is_good());
        if until.is_none() && (0..plan.services.len()).all(good) {
            until = Some(Instant::now() + GRACE);
        }
    }
}

/// One service at one address, from the first packet to the proof that it is open, or closed.
pub(crate) fn attempt(plan: &Plan, job: &Job) -> Tried {
    let name = plan.services.get(job.service).map_or("", String::as_str);
    let mut knock = Knock::new(plan, name, job.address, job.op).until(&job.cancelled);
    let port = if job.op == Op::Close { None } else { port(plan, name, job) };
    if port.is_none() && job.op != Op::Close {
        plan.tell(|| format!("{}: no TCP port to test", printable(name)));
    }
    let (mut stream, mut skew_ms, mut at) = (None, None, None);
    let (verdict, ack) = if plan.line.ack {
        match knock.until_answered() {
            Answer::NotSent(error) => (Verdict::NotSent(error.to_string()), None),
            Answer::Silence => (Verdict::Silence, None),
            Answer::Ack(ack, rtt) => {
                skew_ms = Some(clock::offset(ack.server_ms));
                at = Some(clock::awake_and_asleep());
                let verdict = match ack.status {
                    Status::Granted if job.op == Op::Close => Verdict::Closed,
                    Status::Granted => match relay::undo(plan, job, knock.local, &ack) {
                        Some(relayed) => relayed,
                        None => {
                            granted(port, SHORTEST_PROBE.max(rtt * 4), knock.deadline, &mut stream)
                        }
                    },
                    _ => refused(&ack),
                };
                (verdict, Some((ack, rtt)))
            }
        }
    } else {
        (blind(&mut knock, port, &mut stream), None)
    };
    let (local, bound, at) = (knock.local, knock.bound, at.unwrap_or_else(clock::awake_and_asleep));
    Tried {
        service: job.service,
        address: job.address.ip(),
        local,
        bound,
        ack,
        verdict,
        skew_ms,
        at,
        stream,
    }
}

/// Where a connection proves that it is open.
fn port(plan: &Plan, name: &str, job: &Job) -> Option<SocketAddr> {
    let own = || plan.line.service(name).filter(|service| service.proto == ServiceProto::Tcp);
    let port = job.port.or_else(|| own().map(|service| service.port))?;
    let mut target = job.address;
    // The rest stays: a link-local address is nothing without its interface.
    target.set_port(port);
    Some(target)
}

fn refused(ack: &Ack) -> Verdict {
    match ack.status {
        Status::Busy => Verdict::Busy(ack.reason),
        Status::Stale if ack.reason == Reason::Fence => Verdict::Fence(ack.ttl_s),
        Status::Stale => Verdict::Clock(clock::offset(ack.server_ms)),
        _ => Verdict::Denied(ack.reason),
    }
}

fn granted(
    port: Option<SocketAddr>,
    first: Duration,
    deadline: Instant,
    proof: &mut Option<std::net::TcpStream>,
) -> Verdict {
    let Some(port) = port else { return Verdict::Open { probed: false } };
    // An answer in the last moment still deserves one honest try.
    match probe::connect(port, first, deadline.max(Instant::now() + first)) {
        Ok(stream) => {
            *proof = Some(stream);
            Verdict::Open { probed: true }
        }
        Err(Shut::Refused) => Verdict::Refused,
        Err(Shut::Silent) => Verdict::Unreachable,
    }
}

/// A server that never answers: the service itself is the answer. A refused connection proves
/// nothing here, since a hidden port may refuse as a closed one does.
fn blind(
    knock: &mut Knock<'_>,
    port: Option<SocketAddr>,
    proof: &mut Option<std::net::TcpStream>,
) -> Verdict {
    let mut sent = false;
    loop {
        let live = match knock.fresh() {
            Ok(live) => live,
            Err(error) if !sent => return Verdict::NotSent(error.to_string()),
            Err(_) => return Verdict::Silence,
        };
        // A session that cost a touch is repeated as long as there is time.
        let rounds = if knock.is_last_touch() { usize::MAX } else { RESENDS };
        for round in 0..=rounds {
            match knock.transmit(&live, round) {
                Err(error) if !sent => return Verdict::NotSent(error.to_string()),
                _ => sent = true,
            }
            let Some(port) = port else { return Verdict::Asked };
            let until = knock.deadline.min(Instant::now() + RESEND_AFTER);
            if let Ok(stream) = probe::connect(port, FIRST_BLIND_PROBE, until) {
                *proof = Some(stream);
                return Verdict::Open { probed: true };
            }
            if knock.is_over() {
                return Verdict::Silence;
            }
        }
        knock.other_key();
    }
}
