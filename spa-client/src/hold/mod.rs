//! `spa-client open --hold`: the door stays open, wherever we are.

mod held_service;
mod schedule;
mod stop;

pub(crate) use stop::StopSignals;

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use spa_keys::{Failure, exit};
use spa_proto::Op;

use crate::knock::{Job, Outcome, spawn_job};
use crate::plan::Plan;
use crate::{clock, report, watch};
use held_service::HeldService;

/// A change of network comes as a burst of messages; this long without another one is its end.
const CHANGE_BURST_GAP: Duration = Duration::from_millis(30);
/// The clocks are looked at this often: after a sleep of the machine nothing else wakes us in time.
const MAX_CLOCK_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The goodbye must not hold up a machine that shuts down.
const CLOSE_ALL_TIMEOUT: Duration = Duration::from_secs(3);

/// What happens to us.
enum HoldEvent {
    /// Our addresses or routes have changed.
    Changed,
    Stop(Signal),
    Knocked(Box<(Job, Outcome)>),
}

/// Word of signals and changes from now on: to be asked for before the user hears that the service
/// is open.
pub(crate) struct HoldEvents {
    events: Sender<HoldEvent>,
    heard: Receiver<HoldEvent>,
}

impl HoldEvents {
    /// From now on a signal is a reason to close, and no address change is missed.
    pub(crate) fn start_listening(plan: &Plan, stop: &StopSignals) -> Result<Self, Failure> {
        let (events, heard) = mpsc::channel();
        let told = events.clone();
        stop.forward_next(move |signal| drop(told.send(HoldEvent::Stop(signal))));
        watch::watch_addresses(plan.addresses.clone(), events.clone(), || HoldEvent::Changed)?;
        Ok(Self { events, heard })
    }

    /// Keeps what is open, until a signal ends it; then closes it.
    pub(crate) fn hold_open(
        self,
        plan: &Arc<Plan>,
        tried: Vec<Outcome>,
        json: bool,
    ) -> Result<u8, Failure> {
        let doors = tried.into_iter().filter_map(|one| HeldService::new(plan, one)).collect();
        let seen = (clock::read_boot_clock(), Instant::now());
        let mut holder = Holder { plan, doors, events: self.events, json, seen };
        let signal = holder.run_until_stopped(&self.heard)?;
        holder.close_all()?;
        if signal == Signal::SIGINT {
            stop::die_of_signal(signal);
        }
        Ok(exit::OK)
    }
}

struct Holder<'a> {
    plan: &'a Arc<Plan>,
    doors: Vec<HeldService>,
    events: Sender<HoldEvent>,
    json: bool,
    /// Both clocks at the last look.
    seen: (Duration, Instant),
}

impl Holder<'_> {
    fn run_until_stopped(&mut self, heard: &Receiver<HoldEvent>) -> Result<Signal, Failure> {
        loop {
            self.knock_where_due()?;
            match heard.recv_timeout(self.time_until_due()) {
                Ok(HoldEvent::Stop(signal)) => return Ok(signal),
                Ok(HoldEvent::Knocked(ended)) => self.handle_outcome(*ended)?,
                Ok(HoldEvent::Changed) => {
                    // What else arrives in the burst is handled here, one by one, in its order.
                    loop {
                        match heard.recv_timeout(CHANGE_BURST_GAP) {
                            Ok(HoldEvent::Changed) => {}
                            Ok(HoldEvent::Stop(signal)) => return Ok(signal),
                            Ok(HoldEvent::Knocked(ended)) => self.handle_outcome(*ended)?,
                            Err(_) => break,
                        }
                    }
                    self.handle_change();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(Signal::SIGTERM),
            }
            self.detect_sleep();
        }
    }

    /// Until the next door is due, a second at most.
    fn time_until_due(&self) -> Duration {
        let now = clock::read_boot_clock();
        let next = self.doors.iter().filter_map(|door| door.schedule.due_at()).min();
        next.map_or(MAX_CLOCK_CHECK_INTERVAL, |next| {
            next.saturating_sub(now).min(MAX_CLOCK_CHECK_INTERVAL)
        })
    }

    fn knock_where_due(&mut self) -> Result<(), Failure> {
        let now = clock::read_boot_clock();
        for door in self.doors.iter_mut().filter(|door| door.schedule.is_due(now)) {
            let job = door.start_knock(now);
            spawn_job(self.plan, job, &self.events, |job, tried| {
                HoldEvent::Knocked(Box::new((job, tried)))
            })?;
        }
        Ok(())
    }

    fn handle_change(&mut self) {
        let now = clock::read_boot_clock();
        self.doors.iter_mut().for_each(|door| door.handle_change(now));
    }

    /// While the machine sleeps the timers of this process stand still, and grants end.
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
            self.doors.iter_mut().for_each(|door| door.handle_wake(now));
        }
    }

    fn handle_outcome(&mut self, (job, tried): (Job, Outcome)) -> Result<(), Failure> {
        let Some(door) = self.doors.iter_mut().find(|door| door.waits_for(&job)) else {
            return Ok(());
        };
        if let Some(change) = door.handle_outcome(self.plan, tried) {
            report::report_change(self.plan, &change, self.json)?;
        }
        Ok(())
    }

    /// Closes whatever may be open, each door from where it was opened last.
    fn close_all(&mut self) -> Result<(), Failure> {
        let (results, collected) = mpsc::channel();
        let mut begun = 0;
        for door in &mut self.doors {
            door.abandon_knock();
            if door.may_be_open() {
                let job = Job::new(door.service, door.address, Op::Close);
                spawn_job(self.plan, job, &results, |_, tried| tried)?;
                begun += 1;
            }
        }
        let deadline = Instant::now() + CLOSE_ALL_TIMEOUT;
        let mut tried = Vec::new();
        while tried.len() < begun {
            match collected.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(one) => tried.push(one),
                Err(_) => break,
            }
        }
        for door in self.doors.iter().filter(|door| door.may_be_open()) {
            if !tried
                .iter()
                .any(|one| one.service == door.service && one.address == door.address.ip())
            {
                tried.push(Outcome::without_answer(door.service, door.address.ip()));
            }
        }
        report::report_outcomes(self.plan, &tried, Op::Close, self.json).map(drop)
    }
}
