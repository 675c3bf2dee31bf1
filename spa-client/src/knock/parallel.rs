//! All services of a plan at all its addresses, at the same time.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use spa_keys::{Failure, printable};
use spa_proto::Op;

use super::Job;
use super::attempt::attempt_job;
use super::outcome::Outcome;
use crate::plan::Plan;

/// Time for the other addresses once every service is open at one: enough for one repetition after
/// a lost packet, short enough that a family which leads nowhere does not hold up the user.
const OTHER_ADDRESSES_GRACE: Duration = Duration::from_millis(700);

/// Says which services the enrolment does not name; they are asked for all the same.
pub(crate) fn note_unknown_services(plan: &Plan) {
    for service in plan.services.iter().filter(|service| plan.line.service(service).is_none()) {
        let known: Vec<&str> =
            plan.line.services.iter().map(|service| service.name.as_str()).collect();
        spa_keys::note!(
            "spa-client: {} is not in the enrolment of {} ({}); asking for it anyway",
            printable(service),
            plan.host,
            if known.is_empty() {
                "it lists none".to_owned()
            } else {
                format!("there: {}", printable(&known.join(", ")))
            }
        );
    }
}

/// Knocks for every service of the plan at every address, at the same time. Ends early when each is
/// good at one address.
pub(crate) fn knock_at_all(plan: &Arc<Plan>, op: Op) -> Result<Vec<Outcome>, Failure> {
    let jobs: Vec<Job> = (0..plan.services.len())
        .flat_map(|service| {
            plan.addresses.iter().map(move |address| Job::new(service, *address, op))
        })
        .collect();
    match jobs.as_slice() {
        // One job needs no thread, which would cost some 50 µs.
        [job] => Ok(vec![attempt_job(plan, job)]),
        _ => run_in_parallel(plan, &jobs),
    }
}

/// Runs a job on a thread of its own; its result goes to this channel.
pub(crate) fn spawn_job<T: Send + 'static>(
    plan: &Arc<Plan>,
    job: Job,
    results: &Sender<T>,
    wrap: fn(Job, Outcome) -> T,
) -> Result<(), Failure> {
    let (plan, results) = (Arc::clone(plan), results.clone());
    let spawned = thread::Builder::new().spawn(move || {
        let outcome = attempt_job(&plan, &job);
        // The receiver is gone when nobody waits for this one any more.
        let _ = results.send(wrap(job, outcome));
    });
    spawned.map(drop).map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))
}

fn run_in_parallel(plan: &Arc<Plan>, jobs: &[Job]) -> Result<Vec<Outcome>, Failure> {
    let (results, collected) = mpsc::channel();
    for job in jobs {
        spawn_job(plan, job.clone(), &results, |_, outcome| outcome)?;
    }
    drop(results);
    let mut outcomes = collect_outcomes(plan, &collected);
    for job in jobs {
        if !outcomes.iter().any(|one| one.service == job.service && one.address == job.address.ip())
        {
            outcomes.push(Outcome::without_answer(job.service, job.address.ip()));
        }
    }
    Ok(outcomes)
}

/// Collects outcomes until all are there, or the rest have had their time.
fn collect_outcomes(plan: &Plan, collected: &Receiver<Outcome>) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut until = None;
    loop {
        let next = match until {
            None => collected.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(until) => {
                collected.recv_timeout(Instant::saturating_duration_since(&until, Instant::now()))
            }
        };
        match next {
            Ok(one) => outcomes.push(one),
            Err(_) => return outcomes,
        }
        let good =
            |service| outcomes.iter().any(|one| one.service == service && one.verdict.is_good());
        if until.is_none() && (0..plan.services.len()).all(good) {
            until = Some(Instant::now() + OTHER_ADDRESSES_GRACE);
        }
    }
}
