//! One service at one address, held open.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use spa_proto::Op;

use super::schedule::Schedule;
use crate::address::find_source_address;
use crate::knock::{Job, Outcome, Verdict};
use crate::plan::Plan;
use crate::report::{Change, ChangeKind};

/// A grant of a server that does not tell for how long is taken to last this long.
const DEFAULT_TTL: Duration = Duration::from_secs(60);

/// A service at an address.
pub(super) struct HeldService {
    pub(super) service: usize,
    pub(super) address: SocketAddr,
    pub(super) schedule: Schedule,
    /// The knock on its way.
    job: Option<Job>,
    /// Our address at the last knock.
    local: Option<IpAddr>,
    /// Whether it was open when we last heard, and from where.
    open_from: Option<IpAddr>,
    /// Whether it was open, or a knock for it was given up before its answer.
    maybe_open: bool,
}

impl HeldService {
    /// The door that `open` has tried; nothing when the plan does not know its address.
    pub(super) fn new(plan: &Plan, tried: Outcome) -> Option<Self> {
        let address =
            plan.addresses.iter().copied().find(|address| address.ip() == tried.address)?;
        let mut door = Self {
            service: tried.service,
            address,
            schedule: Schedule::default(),
            job: None,
            local: tried.local,
            open_from: None,
            maybe_open: false,
        };
        door.schedule.knock_started(tried.at);
        door.update_state(plan, &tried);
        Some(door)
    }

    /// The knock that is due.
    pub(super) fn start_knock(&mut self, now: Duration) -> Job {
        self.abandon_knock();
        self.schedule.knock_started(now);
        self.local = self.find_source();
        let op = if self.schedule.grant_holds(now) { Op::Renew } else { Op::Open };
        let job = Job::new(self.service, self.address, op);
        self.job = Some(job.clone());
        job
    }

    /// A knock on its way leads nowhere any more, or nobody needs it.
    pub(super) fn abandon_knock(&mut self) {
        if let Some(job) = self.job.take() {
            job.cancelled.store(true, Ordering::Relaxed);
            self.maybe_open = true;
        }
    }

    pub(super) fn waits_for(&self, job: &Job) -> bool {
        self.job.as_ref().is_some_and(|own| Arc::ptr_eq(&own.cancelled, &job.cancelled))
    }

    /// Our addresses or routes have changed. Without a way to the server there is nothing to send;
    /// the next change tells.
    pub(super) fn handle_change(&mut self, now: Duration) {
        let source = self.find_source();
        if source.is_some() {
            let moved = source != self.local;
            self.schedule.network_changed(now, moved);
            if moved {
                self.abandon_knock();
            }
        }
    }

    /// The machine slept, or this process did: nothing is certain any more.
    pub(super) fn handle_wake(&mut self, now: Duration) {
        self.abandon_knock();
        self.schedule.network_changed(now, true);
    }

    /// How a knock ended; what is new about it.
    pub(super) fn handle_outcome(&mut self, plan: &Plan, tried: Outcome) -> Option<Change> {
        self.job = None;
        let before = self.open_from;
        self.update_state(plan, &tried);
        let kind = match (before, self.open_from) {
            (Some(before), Some(after)) if before == after => ChangeKind::Renewed,
            (_, Some(_)) => ChangeKind::Open,
            (Some(_), None) => ChangeKind::Lost,
            (None, None) => return None,
        };
        Some(Change { service: self.service, outcome: tried, kind })
    }

    pub(super) fn may_be_open(&self) -> bool {
        self.maybe_open
    }

    fn update_state(&mut self, plan: &Plan, tried: &Outcome) {
        let now = tried.at;
        self.local = tried.local.or(self.local);
        // A service that is granted and does not listen yet is held open all the same.
        let granted = matches!(tried.verdict, Verdict::Refused | Verdict::Unreachable)
            || tried.verdict.is_good();
        if !granted {
            self.open_from = None;
            self.schedule.knock_failed(now);
            return;
        }
        let untold =
            if plan.ttl_s == 0 { DEFAULT_TTL } else { Duration::from_secs(plan.ttl_s.into()) };
        let ttl = tried.ack.map_or(untold, |(ack, _)| Duration::from_secs(ack.ttl_s.into()));
        self.schedule.knock_granted(now, ttl);
        self.open_from = tried.local;
        self.maybe_open = true;
    }

    fn find_source(&self) -> Option<IpAddr> {
        find_source_address(self.address).ok().map(|source| source.ip())
    }
}
