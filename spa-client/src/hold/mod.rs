//! `spa-client open --hold`: services stay open, wherever this machine goes; and `connect`, which
//! opens its service anew from where this machine has gone.

mod held_service;
mod schedule;
mod stop;

pub(crate) use stop::StopSignals;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use spa_keys::{Failure, exit};
use spa_proto::Op;

use crate::address::resolve_names;
use crate::knock::{Job, Outcome, spawn_job};
use crate::plan::Plan;
use crate::{clock, report, watch};
use held_service::HeldService;

/// Longest gap between the messages of one change of network, which comes as a burst of them.
const CHANGE_BURST_GAP: Duration = Duration::from_millis(30);
/// Longest time between two looks at the clocks: after a sleep of the machine nothing else wakes us
/// in time.
const MAX_CLOCK_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two looks at the server's names, which may have moved.
const NAME_CHECK_INTERVAL: Duration = Duration::from_secs(15);
/// Longest time to close everything: a machine that shuts down must not be held up.
const CLOSE_ALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Event that a held service reacts to.
enum HoldEvent {
    /// Our addresses or routes have changed.
    Changed,
    /// A signal asks us to end.
    Stop(Signal),
    /// The server's names were resolved again; nothing when they could not be.
    Resolved(Option<Vec<SocketAddr>>),
    /// A knock has ended.
    Knocked(Job, Box<Outcome>),
}

/// Events from now on: to be made before the user hears that the service is open.
pub(crate) struct HoldEvents {
    events: Sender<HoldEvent>,
    heard: Receiver<HoldEvent>,
}

impl HoldEvents {
    /// Starts listening: from now on a signal is a reason to close, and no address change is
    /// missed.
    pub(crate) fn start_listening(plan: &Plan, stop: &StopSignals) -> Result<Self, Failure> {
        let (events, heard) = mpsc::channel();
        let (stops, changes) = (events.clone(), events.clone());
        stop.forward_next(move |signal| drop(stops.send(HoldEvent::Stop(signal))));
        let notify = move || changes.send(HoldEvent::Changed).is_ok();
        watch::watch_addresses(plan.addresses.clone(), notify)?;
        look_once(&events);
        Ok(Self { events, heard })
    }

    /// Keeps what is open, until a signal ends it; then closes it.
    pub(crate) fn hold_open(
        self,
        plan: &Arc<Plan>,
        outcomes: Vec<Outcome>,
        json: bool,
    ) -> Result<u8, Failure> {
        let services = outcomes.iter().filter_map(|one| HeldService::new(plan, one)).collect();
        let task = HoldTask::Hold { json };
        let mut holder = Holder::new(plan, services, self.events, task);
        let signal = holder.run_until_stopped(&self.heard)?;
        holder.close_all()?;
        if signal == Signal::SIGINT {
            stop::die_of_signal(signal);
        }
        Ok(exit::OK)
    }
}

/// Compares our address with that of the knock: it may have changed before anybody watched.
fn look_once(events: &Sender<HoldEvent>) {
    let _nobody_hears = events.send(HoldEvent::Changed);
}

/// Does some work, and opens what this outcome has opened anew from each address that this machine
/// gets meanwhile; the grant of the address before is closed. Says nothing: it is the work that
/// counts. What is open then ends by itself.
pub(crate) fn follow_moves<T>(
    plan: &Arc<Plan>,
    outcome: Option<&Outcome>,
    work: impl FnOnce() -> T,
) -> T {
    // A touch is for one knock.
    let opened = outcome.filter(|_| !plan.asks_for_touch());
    let Some(held) = opened.and_then(|one| HeldService::following(plan, one)) else {
        return work();
    };
    let (events, heard) = mpsc::channel();
    let (changes, stop) = (events.clone(), events.clone());
    let notify = move || changes.send(HoldEvent::Changed).is_ok();
    if watch::watch_addresses(plan.addresses.clone(), notify).is_err() {
        return work();
    }
    look_once(&events);
    let mut holder = Holder::new(plan, vec![held], events, HoldTask::Follow);
    thread::scope(|scope| {
        scope.spawn(move || drop(holder.run_until_stopped(&heard)));
        let done = work();
        let _ended = stop.send(HoldEvent::Stop(Signal::SIGTERM));
        done
    })
}

/// Purpose of a hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HoldTask {
    /// They stay open, and each change is told; `json`: on standard output.
    Hold { json: bool },
    /// They are opened anew where this machine moves.
    Follow,
}

struct Holder {
    plan: Arc<Plan>,
    services: Vec<HeldService>,
    events: Sender<HoldEvent>,
    task: HoldTask,
    /// Both clocks at the last look.
    seen: (Duration, Instant),
    /// Set while the server's names are being resolved.
    resolving: bool,
    /// Time of the last look at them.
    named: Duration,
}

impl Holder {
    fn new(
        plan: &Plan,
        services: Vec<HeldService>,
        events: Sender<HoldEvent>,
        task: HoldTask,
    ) -> Self {
        let seen = (clock::read_boot_clock(), Instant::now());
        let plan = Arc::new(plan.with_addresses(plan.addresses.clone()));
        Self { plan, services, events, task, seen, resolving: false, named: seen.0 }
    }

    fn run_until_stopped(&mut self, heard: &Receiver<HoldEvent>) -> Result<Signal, Failure> {
        let mut in_burst = false;
        loop {
            if !in_burst {
                self.knock_where_due()?;
            }
            let wait = if in_burst { CHANGE_BURST_GAP } else { self.time_until_due() };
            match heard.recv_timeout(wait) {
                Ok(HoldEvent::Stop(signal)) => return Ok(signal),
                Ok(HoldEvent::Knocked(job, outcome)) => self.handle_outcome(&job, *outcome)?,
                Ok(HoldEvent::Resolved(found)) => self.handle_names(found),
                Ok(HoldEvent::Changed) => in_burst = true,
                Err(RecvTimeoutError::Timeout) if in_burst => {
                    in_burst = false;
                    let now = clock::read_boot_clock();
                    self.services.iter_mut().for_each(|held| held.handle_change(now));
                    self.resolve_again(now);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(Signal::SIGTERM),
            }
            if !in_burst {
                self.detect_sleep();
            }
        }
    }

    /// Returns the time until the next knock is due, a second at most.
    fn time_until_due(&self) -> Duration {
        let now = clock::read_boot_clock();
        let next = self.services.iter().filter_map(HeldService::due_at).min();
        next.map_or(MAX_CLOCK_CHECK_INTERVAL, |next| {
            next.saturating_sub(now).min(MAX_CLOCK_CHECK_INTERVAL)
        })
    }

    fn knock_where_due(&mut self) -> Result<(), Failure> {
        let now = clock::read_boot_clock();
        if now.saturating_sub(self.named) >= NAME_CHECK_INTERVAL {
            self.resolve_again(now);
        }
        if self.services.iter().any(|held| held.is_due(now))
            && let Some(fresh) = self.plan.with_changed_key()
        {
            self.plan = Arc::new(fresh);
        }
        for held in self.services.iter_mut().filter(|held| held.is_due(now)) {
            let job = held.start_knock(now);
            spawn_job(&self.plan, job, &self.events, |job, outcome| {
                HoldEvent::Knocked(job, Box::new(outcome))
            })?;
        }
        Ok(())
    }

    /// Detects that the machine has slept: meanwhile the timers of this process stand still, and
    /// grants end.
    fn detect_sleep(&mut self) {
        let (now, here) = (clock::read_boot_clock(), Instant::now());
        let slept = now
            .saturating_sub(self.seen.0)
            .saturating_sub(here.saturating_duration_since(self.seen.1));
        // A process that was stopped, too, finds itself in another time.
        let stopped = here.saturating_duration_since(self.seen.1);
        self.seen = (now, here);
        if slept > schedule::SLEEP_THRESHOLD || stopped > schedule::SLEEP_THRESHOLD {
            self.plan.log_verbose(|| format!("awake after {} s", (slept.max(stopped)).as_secs()));
            self.services.iter_mut().for_each(|held| held.handle_wake(now));
        }
    }

    fn handle_outcome(&mut self, job: &Job, outcome: Outcome) -> Result<(), Failure> {
        let Some(held) = self.services.iter_mut().find(|held| held.waits_for(job)) else {
            return Ok(());
        };
        let former = held.close_former(&outcome);
        let failed = !outcome.verdict.is_good();
        if let Some(change) = held.handle_outcome(&self.plan, outcome)
            && let HoldTask::Hold { json } = self.task
        {
            report::report_change(&self.plan, &change, json)?;
        }
        // The server may be elsewhere by now.
        if failed {
            self.resolve_again(clock::read_boot_clock());
        }
        if let Some(job) = former {
            // Nobody waits for it: where it fails, the grant ends by itself.
            spawn_job(&self.plan, job, &self.events, |job, outcome| {
                HoldEvent::Knocked(job, Box::new(outcome))
            })?;
        }
        Ok(())
    }

    /// Resolves the server's names again, beside all else.
    fn resolve_again(&mut self, now: Duration) {
        let plan = &self.plan;
        // A touch is for one address, and so is a connection.
        if self.task == HoldTask::Follow
            || self.resolving
            || !plan.resolved.can_change()
            || plan.asks_for_touch()
        {
            return;
        }
        self.named = now;
        let (resolved, limit) = (plan.resolved.clone(), plan.timeout);
        let events = self.events.clone();
        let resolve = move || {
            let found = resolve_names(&resolved.names, resolved.family, false, limit).ok();
            let _ended = events.send(HoldEvent::Resolved(found));
        };
        self.resolving = thread::Builder::new().spawn(resolve).is_ok();
    }

    /// Knocks where the server's names lead now, and no more where they do not.
    fn handle_names(&mut self, found: Option<Vec<SocketAddr>>) {
        self.resolving = false;
        let Some(found) = found else { return };
        let now = clock::read_boot_clock();
        for held in &mut self.services {
            held.set_retired(!found.contains(&held.address), now);
        }
        self.services.retain(|held| !held.is_over(now));
        let mut addresses: Vec<SocketAddr> =
            self.services.iter().map(|held| held.address).collect();
        let fresh: Vec<SocketAddr> =
            found.iter().copied().filter(|one| !addresses.contains(one)).collect();
        if fresh.is_empty() {
            return;
        }
        let shown: Vec<String> = found.iter().map(|one| one.ip().to_string()).collect();
        spa_keys::note!("spa-client: {} is at {} now", self.plan.host, shown.join(", "));
        addresses.extend(&fresh);
        self.plan = Arc::new(self.plan.with_addresses(addresses));
        for service in 0..self.plan.services.len() {
            let held = |address| HeldService::at_new_address(service, address, now);
            self.services.extend(fresh.iter().copied().map(held));
        }
    }

    /// Closes whatever may be open, each service from where it was opened last.
    fn close_all(&mut self) -> Result<(), Failure> {
        let (results, collected) = mpsc::channel();
        let mut begun = 0;
        for held in &mut self.services {
            held.abandon_knock();
            if held.may_be_open() {
                let job = Job::new(held.service, held.address, Op::Close);
                spawn_job(&self.plan, job, &results, |_, outcome| outcome)?;
                begun += 1;
            }
        }
        let deadline = Instant::now() + CLOSE_ALL_TIMEOUT;
        let mut outcomes = Vec::new();
        while outcomes.len() < begun {
            match collected.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(one) => outcomes.push(one),
                Err(_) => break,
            }
        }
        for held in self.services.iter().filter(|held| held.may_be_open()) {
            if !outcomes
                .iter()
                .any(|one| one.service == held.service && one.address == held.address.ip())
            {
                outcomes.push(Outcome::without_answer(held.service, held.address.ip()));
            }
        }
        let json = self.task == HoldTask::Hold { json: true };
        report::report_outcomes(&self.plan, &outcomes, Op::Close, json).map(drop)
    }
}
