//! The enforcers beside this host's firewall: what each is to have open, and the grants that wait
//! for them.
//!
//! A grant is open on this host at once. Its listener hears of it when every enforcer of the
//! service has it as well, or one of them has failed: then it is taken back.

mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use spa_keys::Failure;

use crate::config::{Backend, Config, Enforcer, Service};
use crate::domain::grant::{Grant, GrantId, Scope};
use crate::firewall::{Established, LiveGrant};
use crate::ipc::enforcers::{EnforcedGrant, EnforcerTask};
use crate::ipc::message::EnforcerState;
use process::{EnforcerProcess, Said};

/// Time beyond that of the enforcer for the way there and back.
const ANSWER_SLACK: Duration = Duration::from_millis(500);

/// A grant that enforcers hold.
#[derive(Clone, Debug)]
pub(super) struct PassedGrant {
    /// The grant.
    pub(super) grant: Grant,
    /// When it ends.
    pub(super) end: Instant,
}

/// A grant that waits for enforcers.
struct WaitingGrant {
    id: GrantId,
    /// As it was before, if it was open.
    before: Option<PassedGrant>,
    /// Names of those that have not answered, and by when they must have.
    missing: BTreeMap<Arc<str>, Instant>,
}

/// A grant for which the waiting is over.
pub(super) struct SettledGrant {
    /// The listener's number for it.
    pub(super) ticket: u64,
    /// Number of the grant.
    pub(super) id: GrantId,
    /// The grant; `None`: it was closed meanwhile.
    pub(super) grant: Option<Grant>,
    /// As it was before, if it was open and is to be so again.
    pub(super) before: Option<PassedGrant>,
    /// Why it is not open everywhere.
    pub(super) outcome: Result<(), String>,
    /// Another question about the same grant is under way, and decides.
    pub(super) is_overtaken: bool,
}

/// All enforcers.
#[derive(Default)]
pub(super) struct Enforcers {
    /// As they were at the start.
    configured: Vec<Enforcer>,
    processes: Vec<EnforcerProcess>,
    held: BTreeMap<GrantId, PassedGrant>,
    waiting: BTreeMap<u64, WaitingGrant>,
    last_ticket: u64,
    /// Set once it is known what this host has open.
    adopted: bool,
    /// State that the listener was last told.
    told: Vec<EnforcerState>,
}

impl Enforcers {
    /// Starts their processes, before the broker gives up what it needs for that.
    ///
    /// # Errors
    /// A process cannot be started.
    pub(super) fn start(config: &Config) -> io::Result<Self> {
        // One that only observes opens nothing, and passes nothing on.
        if config.firewall.backend == Backend::Observe {
            return Ok(Self { configured: config.enforcers.clone(), ..Self::default() });
        }
        let processes = config.enforcers.iter().map(|one| EnforcerProcess::start(one, config));
        let processes = processes.collect::<io::Result<_>>()?;
        Ok(Self { configured: config.enforcers.clone(), processes, ..Self::default() })
    }

    /// Refuses a configuration with other enforcers: their processes are made at the start.
    ///
    /// # Errors
    /// What to do.
    pub(super) fn check_unchanged(&self, config: &Config) -> Result<(), Failure> {
        if config.enforcers == self.configured {
            return Ok(());
        }
        Err(Failure::failed(
            "the [[enforcer]] sections have changed, and their processes are made at the start \
             only: restart the server",
        ))
    }

    /// Where they report.
    pub(super) fn report_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.processes.iter().filter_map(EnforcerProcess::report_fd)
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        let waiting = self.waiting.values().flat_map(|waiting| waiting.missing.values().copied());
        let settles = self.processes.iter().filter_map(EnforcerProcess::settle_due);
        waiting.chain(settles.filter(|_| self.adopted)).min()
    }

    /// Takes what this host has open, at the start and after a reload.
    pub(super) fn adopt_grants(&mut self, live: Vec<LiveGrant>) {
        let now = Instant::now();
        let held = |LiveGrant { grant, left, .. }| {
            let end = now.checked_add(left).unwrap_or(now);
            (grant.id, PassedGrant { grant, end })
        };
        self.held = live.into_iter().map(held).collect();
        self.adopted = true;
        self.processes.iter_mut().for_each(EnforcerProcess::want_settle);
    }

    /// Tells whether what this host has open is known to them.
    pub(super) fn is_adopted(&self) -> bool {
        self.adopted
    }

    /// Tells whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// Refuses a grant for which one of its service's enforcers is not ready: then nothing is
    /// opened at all.
    ///
    /// # Errors
    /// Which, and why.
    pub(super) fn check_ready(&mut self, config: &Config, grant: &Grant) -> Result<(), String> {
        let needed = names_for(config, grant);
        for process in self.processes.iter_mut().filter(|one| takes(one, &needed, grant)) {
            if let Err(why) = &process.state {
                process.failures += 1;
                return Err(format!("enforcer {}: {why}", process.name));
            }
        }
        Ok(())
    }

    /// Passes a grant on that is open on this host. Returns the number under which its outcome
    /// comes; `None`: nobody else has to open it.
    pub(super) fn open_grant(&mut self, config: &Config, grant: &Grant) -> Option<u64> {
        let now = Instant::now();
        let needed = names_for(config, grant);
        if needed.is_empty() || self.processes.is_empty() {
            return None;
        }
        self.held.retain(|_, held| held.end > now);
        let end = now.checked_add(grant.ttl).unwrap_or(now);
        let before = self.held.insert(grant.id, PassedGrant { grant: grant.clone(), end });
        let (ticket, mut missing) = (self.last_ticket + 1, BTreeMap::new());
        for process in self.processes.iter_mut().filter(|one| takes(one, &needed, grant)) {
            let grant = enforced(config, grant, grant.ttl);
            // One that does not read misses its time at once.
            let sent = process.send(&EnforcerTask::Open { ticket, grant });
            let patience = if sent { process.timeout + ANSWER_SLACK } else { Duration::ZERO };
            missing.insert(Arc::clone(&process.name), now + patience);
        }
        if missing.is_empty() {
            return None;
        }
        self.last_ticket = ticket;
        self.waiting.insert(ticket, WaitingGrant { id: grant.id, before, missing });
        Some(ticket)
    }

    /// Passes on that a grant was closed.
    pub(super) fn close_grant(&mut self, id: GrantId, flows: bool) {
        if self.held.remove(&id).is_none() {
            return;
        }
        for process in &mut self.processes {
            process.send(&EnforcerTask::Close { id, flows });
        }
    }

    /// A grant that was taken back to what it was before.
    pub(super) fn reopen_grant(&mut self, config: &Config, before: PassedGrant) {
        let needed = names_for(config, &before.grant);
        let left = before.end.saturating_duration_since(Instant::now());
        for process in self.processes.iter_mut().filter(|one| takes(one, &needed, &before.grant)) {
            let grant = enforced(config, &before.grant, left);
            // Number 0 is no question: nobody waits for the answer.
            process.send(&EnforcerTask::Open { ticket: 0, grant });
        }
        self.held.insert(before.grant.id, before);
    }

    /// A child has ended.
    pub(super) fn check_processes(&mut self) {
        for process in &mut self.processes {
            process.check_end();
        }
    }

    /// Takes reports, sends lists. Returns the grants for which the waiting is over.
    pub(super) fn take_turn(&mut self, config: &Config) -> Vec<SettledGrant> {
        let mut over: BTreeMap<u64, Result<(), String>> = BTreeMap::new();
        for process in &mut self.processes {
            while let Some(said) = process.take_report() {
                match said {
                    Said::State => {}
                    Said::Begun => {
                        for (ticket, waiting) in &mut self.waiting {
                            if waiting.missing.contains_key(&process.name) {
                                let why = "its process has ended meanwhile";
                                over.insert(
                                    *ticket,
                                    Err(format!("enforcer {}: {why}", process.name)),
                                );
                            }
                        }
                    }
                    Said::Opened(ticket, outcome) => {
                        let Some(waiting) = self.waiting.get_mut(&ticket) else { continue };
                        waiting.missing.remove(&process.name);
                        match outcome {
                            Err(why) => {
                                process.failures += 1;
                                over.insert(
                                    ticket,
                                    Err(format!("enforcer {}: {why}", process.name)),
                                );
                            }
                            Ok(()) if waiting.missing.is_empty() => {
                                over.entry(ticket).or_insert(Ok(()));
                            }
                            Ok(()) => {}
                        }
                    }
                }
            }
        }
        let now = Instant::now();
        for (ticket, waiting) in &self.waiting {
            let late = waiting.missing.iter().find(|(_, end)| **end <= now);
            if let (Some((name, _)), false) = (late, over.contains_key(ticket)) {
                self.processes.iter_mut().filter(|one| one.name == *name).for_each(|one| {
                    one.failures += 1;
                });
                over.insert(*ticket, Err(format!("enforcer {name}: no answer in time")));
            }
        }
        self.send_lists(config, now);
        over.into_iter()
            .filter_map(|(ticket, outcome)| self.settle_grant(ticket, outcome))
            .collect()
    }

    fn settle_grant(&mut self, ticket: u64, outcome: Result<(), String>) -> Option<SettledGrant> {
        let WaitingGrant { id, before, .. } = self.waiting.remove(&ticket)?;
        let is_overtaken = self.waiting.values().any(|waiting| waiting.id == id);
        let outcome = match self.held.get(&id) {
            None => Err("it was closed meanwhile".to_owned()),
            Some(_) => outcome,
        };
        let grant = self.held.get(&id).map(|held| held.grant.clone());
        let now = Instant::now();
        let before = before.filter(|before| {
            !before.grant.provisional && before.end > now + Duration::from_secs(1)
        });
        Some(SettledGrant { ticket, id, grant, before, outcome, is_overtaken })
    }

    fn send_lists(&mut self, config: &Config, now: Instant) {
        if !self.adopted {
            return;
        }
        for process in &mut self.processes {
            if process.settle_due().is_none_or(|due| due > now) {
                continue;
            }
            let grants = self.held.values().filter(|held| held.end > now).filter_map(|held| {
                let needed = names_for(config, &held.grant);
                let left = held.end.saturating_duration_since(now);
                takes(process, &needed, &held.grant).then(|| enforced(config, &held.grant, left))
            });
            let grants: Vec<EnforcedGrant> = grants.collect();
            process.settle(&grants);
        }
    }

    /// States, if they have changed since they were last asked for.
    pub(super) fn take_news(&mut self) -> Option<Vec<EnforcerState>> {
        let states = self.processes.iter().map(|process| EnforcerState {
            name: process.name.to_string(),
            problem: process.state.clone().err(),
            failures: process.failures,
        });
        let states: Vec<EnforcerState> = states.collect();
        if states == self.told {
            return None;
        }
        self.told.clone_from(&states);
        Some(states)
    }
}

fn find_service<'c>(config: &'c Config, grant: &Grant) -> Option<&'c Service> {
    config.services.iter().find(|service| service.name == grant.service)
}

/// Names of the enforcers that a grant needs.
fn names_for(config: &Config, grant: &Grant) -> BTreeSet<Arc<str>> {
    let names = find_service(config, grant).map(|service| service.enforcers.iter().cloned());
    names.into_iter().flatten().collect()
}

/// Tells whether a process is to have a grant: one that cannot end a copier's flow waits for the
/// CONFIRM.
fn takes(process: &EnforcerProcess, needed: &BTreeSet<Arc<str>>, grant: &Grant) -> bool {
    needed.contains(&process.name) && (!grant.provisional || process.able.takes_provisional())
}

fn enforced(config: &Config, grant: &Grant, left: Duration) -> EnforcedGrant {
    let ends = find_service(config, grant).map(|service| service.established);
    EnforcedGrant {
        id: grant.id,
        service: Arc::clone(&grant.service),
        network: grant.network(),
        ports: match &grant.scope {
            Scope::All => Vec::new(),
            Scope::Inside(ports) | Scope::Ports(ports) => ports.to_vec(),
        },
        left,
        flows: grant.provisional || ends == Some(Established::Drop),
    }
}
