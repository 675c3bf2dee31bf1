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
    /// Set when it was open, or a knock for it was given up before its answer.
    maybe_open: bool,
}

impl HeldService {
    /// Makes it from what `open` has reached; nothing when the plan does not know its address.
    pub(super) fn new(plan: &Plan, outcome: Outcome) -> Option<Self> {
        let address =
            plan.addresses.iter().copied().find(|address| address.ip() == outcome.address)?;
        let mut held = Self {
            service: outcome.service,
            address,
            schedule: Schedule::default(),
            job: None,
            local: outcome.local,
            open_from: None,
            maybe_open: false,
        };
        held.schedule.knock_started(outcome.at);
        held.update_state(plan, &outcome);
        Some(held)
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
            self.schedule.network_changed(now, moved);
            if moved {
                self.abandon_knock();
            }
        }
    }

    /// Handles the end of a sleep of the machine or of this process: nothing is certain any more.
    pub(super) fn handle_wake(&mut self, now: Duration) {
        self.abandon_knock();
        self.schedule.network_changed(now, true);
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
        self.open_from = outcome.local;
        self.maybe_open = true;
    }

    fn find_source(&self) -> Option<IpAddr> {
        find_source_address(self.address).ok().map(|source| source.ip())
    }
}
