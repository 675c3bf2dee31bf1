//! `spa-client open --hold`: the door stays open, wherever we are.

mod held_service;
mod schedule;
mod stop;

pub(crate) use stop::Stop;

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use spa_keys::{Failure, exit};
use spa_proto::Op;

use crate::knock::{Job, Outcome, spawn_job};
use crate::plan::Plan;
use crate::{clock, report, watch};
use held_service::Door;

/// A change of network comes as a burst of messages; this long without another one is its end.
const QUIET: Duration = Duration::from_millis(30);
/// The clocks are looked at this often: after a sleep of the machine nothing else wakes us in time.
const TICK: Duration = Duration::from_secs(1);
/// The goodbye must not hold up a machine that shuts down.
const GOODBYE: Duration = Duration::from_secs(3);

/// What happens to us.
enum Event {
    /// Our addresses or routes have changed.
    Changed,
    Stop(Signal),
    Knocked(Box<(Job, Outcome)>),
}

/// Word of signals and changes from now on: to be asked for before the user hears that the service
/// is open.
pub(crate) struct Watched {
    events: Sender<Event>,
    heard: Receiver<Event>,
}

impl Watched {
    /// From now on a signal is a reason to close, and no address change is missed.
    pub(crate) fn begin(plan: &Plan, stop: &Stop) -> Result<Self, Failure> {
        let (events, heard) = mpsc::channel();
        let told = events.clone();
        stop.listen(move |signal| drop(told.send(Event::Stop(signal))));
        watch::start(plan.addresses.clone(), events.clone(), || Event::Changed)?;
        Ok(Self { events, heard })
    }

    /// Keeps what is open, until a signal ends it; then closes it.
    pub(crate) fn hold(
        self,
        plan: &Arc<Plan>,
        tried: Vec<Outcome>,
        json: bool,
    ) -> Result<u8, Failure> {
        let doors = tried.into_iter().filter_map(|one| Door::new(plan, one)).collect();
        let seen = (clock::read_boot_clock(), Instant::now());
        let mut holder = Holder { plan, doors, events: self.events, json, seen };
        let signal = holder.until_stopped(&self.heard)?;
        holder.goodbye()?;
        if signal == Signal::SIGINT {
            stop::end_by(signal);
        }
        Ok(exit::OK)
    }
}

struct Holder<'a> {
    plan: &'a Arc<Plan>,
    doors: Vec<Door>,
    events: Sender<Event>,
    json: bool,
    /// Both clocks at the last look.
    seen: (Duration, Instant),
}

impl Holder<'_> {
    fn until_stopped(&mut self, heard: &Receiver<Event>) -> Result<Signal, Failure> {
        loop {
            self.knock_where_due()?;
            match heard.recv_timeout(self.patience()) {
                Ok(Event::Stop(signal)) => return Ok(signal),
                Ok(Event::Knocked(ended)) => self.knocked(*ended)?,
                Ok(Event::Changed) => {
                    // What else arrives in the burst is handled here, one by one, in its order.
                    loop {
                        match heard.recv_timeout(QUIET) {
                            Ok(Event::Changed) => {}
                            Ok(Event::Stop(signal)) => return Ok(signal),
                            Ok(Event::Knocked(ended)) => self.knocked(*ended)?,
                            Err(_) => break,
                        }
                    }
                    self.changed();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(Signal::SIGTERM),
            }
            self.look_at_the_clocks();
        }
    }

    /// Until the next door is due, a second at most.
    fn patience(&self) -> Duration {
        let now = clock::read_boot_clock();
        let next = self.doors.iter().filter_map(|door| door.schedule.due_at()).min();
        next.map_or(TICK, |next| next.saturating_sub(now).min(TICK))
    }

    fn knock_where_due(&mut self) -> Result<(), Failure> {
        let now = clock::read_boot_clock();
        for door in self.doors.iter_mut().filter(|door| door.schedule.is_due(now)) {
            let job = door.knock(now);
            spawn_job(self.plan, job, &self.events, |job, tried| {
                Event::Knocked(Box::new((job, tried)))
            })?;
        }
        Ok(())
    }

    fn changed(&mut self) {
        let now = clock::read_boot_clock();
        self.doors.iter_mut().for_each(|door| door.changed(now));
    }

    /// While the machine sleeps the timers of this process stand still, and grants end.
    fn look_at_the_clocks(&mut self) {
        let (now, here) = (clock::read_boot_clock(), Instant::now());
        let slept = now
            .saturating_sub(self.seen.0)
            .saturating_sub(here.saturating_duration_since(self.seen.1));
        // A process that was stopped, too, finds itself in another time.
        let stopped = here.saturating_duration_since(self.seen.1);
        self.seen = (now, here);
        if slept > schedule::NAP || stopped > schedule::NAP {
            self.plan.tell(|| format!("awake after {} s", (slept.max(stopped)).as_secs()));
            self.doors.iter_mut().for_each(|door| door.woken(now));
        }
    }

    fn knocked(&mut self, (job, tried): (Job, Outcome)) -> Result<(), Failure> {
        let Some(door) = self.doors.iter_mut().find(|door| door.waits_for(&job)) else {
            return Ok(());
        };
        if let Some(change) = door.knocked(self.plan, tried) {
            report::report_change(self.plan, &change, self.json)?;
        }
        Ok(())
    }

    /// Closes whatever may be open, each door from where it was opened last.
    fn goodbye(&mut self) -> Result<(), Failure> {
        let (results, collected) = mpsc::channel();
        let mut begun = 0;
        for door in &mut self.doors {
            door.abandon();
            if door.may_be_open() {
                let job = Job::new(door.service, door.address, Op::Close);
                spawn_job(self.plan, job, &results, |_, tried| tried)?;
                begun += 1;
            }
        }
        let deadline = Instant::now() + GOODBYE;
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
                tried.push(Outcome::unfinished(door.service, door.address.ip()));
            }
        }
        report::report(self.plan, &tried, Op::Close, self.json).map(drop)
    }
}
