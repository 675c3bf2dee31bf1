//! One service at one address, held open.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use spa_proto::{Op, Status};

use super::schedule::Schedule;
use crate::address::find_source_address;
use crate::knock::{Job, Outcome, Verdict};
use crate::plan::Plan;
use crate::report::{Change, ChangeKind};

/// Assumed duration of a grant when the server does not tell it.
const DEFAULT_TTL: Duration = Duration::from_secs(60);

/// Service at an address, held open.
pub(super) struct HeldService {
    /// Index of the service in the plan.
    pub(super) service: usize,
    /// Address of the server.
    pub(super) address: SocketAddr,
    /// Time of the next knock.
    pub(super) schedule: Schedule,
    /// The knock on its way.
    job: Option<Job>,
    /// Our address at the last knock.
    local: Option<IpAddr>,
    /// Our address when it was open at the last answer.
    open_from: Option<IpAddr>,
    /// Address for which the server has opened it last, as far as it tells.
    open_for: Option<IpAddr>,
    /// Set when the server's names do not lead here any more: what is open ends by itself.
    retired: bool,
    /// Set when it was open, or a knock for it was given up before its answer.
    maybe_open: bool,
    /// It is opened anew where this machine moves, and never only because time passes.
    follows: bool,
}

impl HeldService {
    /// Makes it from what `open` has reached; nothing when the plan does not know its address.
    pub(super) fn new(plan: &Plan, outcome: &Outcome) -> Option<Self> {
        let address =
            plan.addresses.iter().copied().find(|address| address.ip() == outcome.address)?;
        let mut held = Self {
            service: outcome.service,
            address,
            schedule: Schedule::default(),
            job: None,
            local: outcome.local,
            open_from: None,
            open_for: None,
            retired: false,
            maybe_open: false,
            follows: false,
        };
        held.schedule.knock_started(outcome.at);
        held.update_state(plan, outcome);
        Some(held)
    }

    /// The same of what a connection goes through; nothing when no grant lets it in.
    pub(super) fn following(plan: &Plan, outcome: &Outcome) -> Option<Self> {
        let mut held = Self::new(plan, outcome).filter(|held| held.open_from.is_some())?;
        held.follows = true;
        held.schedule.wait_for_change();
        Some(held)
    }

    /// Makes it for an address that the server has got meanwhile: a knock is due at once.
    pub(super) fn at_new_address(service: usize, address: SocketAddr, now: Duration) -> Self {
        let mut held = Self {
            service,
            address,
            schedule: Schedule::default(),
            job: None,
            local: None,
            open_from: None,
            open_for: None,
            retired: false,
            maybe_open: false,
            follows: false,
        };
        held.schedule.network_changed(now, true);
        held
    }

    /// Notes whether the server's names lead here; a knock is due at once where they do again.
    pub(super) fn set_retired(&mut self, retired: bool, now: Duration) {
        if self.retired && !retired {
            self.schedule.network_changed(now, true);
        }
        if retired {
            self.abandon_knock();
        }
        self.retired = retired;
    }

    /// Returns true if the server's names have left it and its grant has ended.
    pub(super) fn is_over(&self, now: Duration) -> bool {
        self.retired && !self.schedule.grant_holds(now)
    }

    /// Returns true if a knock is due.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        !self.retired && self.schedule.is_due(now)
    }

    /// Returns the time of the next knock.
    pub(super) fn due_at(&self) -> Option<Duration> {
        self.schedule.due_at().filter(|_| !self.retired)
    }

    /// Starts the knock that is due.
    pub(super) fn start_knock(&mut self, now: Duration) -> Job {
        self.abandon_knock();
        self.schedule.knock_started(now);
        self.local = self.find_source();
        let op = if self.schedule.grant_holds(now) { Op::Renew } else { Op::Open };
        let job = Job::new(self.service, self.address, op);
        self.job = Some(job.clone());
        job
    }

    /// Abandons a knock on its way, which leads nowhere any more, or which nobody needs.
    pub(super) fn abandon_knock(&mut self) {
        if let Some(job) = self.job.take() {
            job.cancelled.store(true, Ordering::Relaxed);
            self.maybe_open = true;
        }
    }

    /// Returns true while this job is the knock on its way.
    pub(super) fn waits_for(&self, job: &Job) -> bool {
        self.job.as_ref().is_some_and(|own| Arc::ptr_eq(&own.cancelled, &job.cancelled))
    }

    /// Handles a change of our addresses or routes. Without a way to the server there is nothing to
    /// send; the next change tells.
    pub(super) fn handle_change(&mut self, now: Duration) {
        let source = self.find_source();
        if source.is_some() {
            let moved = source != self.local;
            if moved || !self.follows {
                self.schedule.network_changed(now, moved);
            }
            if moved {
                self.abandon_knock();
            }
        }
    }

    /// Handles the end of a sleep of the machine or of this process: nothing is certain any more.
    pub(super) fn handle_wake(&mut self, now: Duration) {
        if self.follows {
            return self.handle_change(now);
        }
        self.abandon_knock();
        self.schedule.network_changed(now, true);
    }

    /// Makes the job that ends the grant of another address of ours, when this outcome has opened
    /// the service for a new one.
    pub(super) fn close_former(&self, outcome: &Outcome) -> Option<Job> {
        let former = self.open_for?;
        let present = grant_address(outcome)?;
        let job = Job::new(self.service, self.address, Op::Close);
        (former != present).then_some(Job { for_addr: Some(former), ..job })
    }

    /// Handles the end of a knock; returns a change that the user should know of.
    pub(super) fn handle_outcome(&mut self, plan: &Plan, outcome: Outcome) -> Option<Change> {
        self.job = None;
        let before = self.open_from;
        self.update_state(plan, &outcome);
        let kind = match (before, self.open_from) {
            (Some(before), Some(after)) if before == after => ChangeKind::Renewed,
            (_, Some(_)) => ChangeKind::Open,
            (Some(_), None) => ChangeKind::Lost,
            (None, None) => return None,
        };
        Some(Change { outcome, kind })
    }

    /// Returns true unless it is certainly closed.
    pub(super) fn may_be_open(&self) -> bool {
        self.maybe_open
    }

    fn update_state(&mut self, plan: &Plan, outcome: &Outcome) {
        let now = outcome.at;
        self.local = outcome.local.or(self.local);
        // A service that is granted and does not listen yet is held open all the same.
        let granted = matches!(outcome.verdict, Verdict::Refused | Verdict::Unreachable)
            || (outcome.verdict.is_good() && outcome.verdict != Verdict::NotHidden);
        if !granted {
            self.open_from = None;
            self.schedule.knock_failed(now);
            return;
        }
        let untold =
            if plan.ttl_s == 0 { DEFAULT_TTL } else { Duration::from_secs(plan.ttl_s.into()) };
        let ttl = outcome.ack.map_or(untold, |(ack, _)| Duration::from_secs(ack.ttl_s.into()));
        self.schedule.knock_granted(now, ttl);
        if self.follows {
            self.schedule.wait_for_change();
        }
        self.open_from = outcome.local;
        self.open_for = grant_address(outcome).or(self.open_for);
        self.maybe_open = true;
    }

    fn find_source(&self) -> Option<IpAddr> {
        find_source_address(self.address).ok().map(|source| source.ip())
    }
}

/// Returns the address that an outcome has opened a service for.
fn grant_address(outcome: &Outcome) -> Option<IpAddr> {
    let (ack, _) = outcome.ack.filter(|(ack, _)| ack.status == Status::Granted)?;
    Some(ack.observed.ip())
}
