//! Which hook is due when: grants, jobs at the runner, ends that wait. Without I/O and without a
//! clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use spa_keys::whole_millis;

use super::journal::{JournalStep, OwedHook};
use crate::config::{Config, Hook};
use crate::domain::grant::{Grant, GrantId};
use crate::firewall::LiveGrant;
use crate::ipc::hooks::{HookEvent, Job, MAX_OPEN_JOBS};
use crate::ipc::message::HookFailures;
use crate::log::{self, Level};

fn hook_of(event: HookEvent, config: &Config, service: &str) -> Option<Hook> {
    let service = config.services.iter().find(|known| &*known.name == service)?;
    match event {
        HookEvent::Open => service.on_open.clone(),
        HookEvent::Close => service.on_close.clone(),
    }
}

struct OpenGrant {
    grant: Grant,
    until: Instant,
    /// `on-close` as it was when the grant was opened, and its number in the journal.
    close: Option<(u64, Hook)>,
    /// The job of its `on-open`.
    opening: Option<u64>,
}

struct Ended {
    place: u64,
    owed: OwedHook,
    /// The job of its `on-open`, which must not be overtaken.
    after: Option<u64>,
}

struct AtWork {
    event: HookEvent,
    service: String,
    /// To be forgotten when it is done.
    place: Option<u64>,
}

/// Grants whose end has to be told, and jobs that are not done yet.
#[derive(Default)]
pub(super) struct Schedule {
    live: BTreeMap<GrantId, OpenGrant>,
    ended: VecDeque<Ended>,
    at_work: BTreeMap<u64, AtWork>,
    /// The newest number of a job or a place.
    last: u64,
    steps: Vec<JournalStep>,
    failures: BTreeMap<(String, HookEvent), u64>,
}

impl Schedule {
    /// Takes what the kernel has open and what an earlier run has remembered. Returns all that is
    /// to be remembered now.
    ///
    /// What is remembered and not open any more ended in our absence. What is open and not
    /// remembered was opened without a hook, or in the moment before a crash: its beginning is
    /// not told any more, its end is.
    pub(super) fn adopt_grants(
        &mut self,
        config: &Config,
        live: Vec<LiveGrant>,
        mut remembered: Vec<OwedHook>,
        now: Instant,
    ) -> BTreeMap<u64, OwedHook> {
        let mut all = BTreeMap::new();
        for LiveGrant { grant, left, .. } in live {
            let same = |owed: &OwedHook| {
                // The kernel knows a wide grant's network alone.
                (owed.grant, &*owed.client, &*owed.service)
                    == (grant.id.0, &*grant.client, &*grant.service)
                    && grant.network().contains(&owed.source)
            };
            let known = remembered.iter().position(same).map(|at| remembered.swap_remove(at).hook);
            let close =
                known.or_else(|| hook_of(HookEvent::Close, config, &grant.service)).map(|hook| {
                    let place = self.next_number();
                    all.insert(place, owed_hook(&grant, hook.clone()));
                    (place, hook)
                });
            self.live
                .insert(grant.id, OpenGrant { until: now + left, grant, close, opening: None });
        }
        for mut owed in remembered {
            let place = self.next_number();
            all.insert(place, owed.clone());
            owed.hook = hook_of(HookEvent::Close, config, &owed.service).unwrap_or(owed.hook);
            self.ended.push_back(Ended { place, owed, after: None });
        }
        self.hand_out();
        all
    }

    /// A grant was opened, or renewed, which no hook is told of.
    pub(super) fn note_opened(&mut self, config: &Config, grant: &Grant, now: Instant) {
        let until = now + grant.ttl;
        if let Some(live) = self.live.get_mut(&grant.id) {
            live.until = until;
            return;
        }
        let close = hook_of(HookEvent::Close, config, &grant.service).map(|hook| {
            let place = self.next_number();
            self.steps.push(JournalStep::Remember(place, owed_hook(grant, hook.clone())));
            (place, hook)
        });
        let opening = hook_of(HookEvent::Open, config, &grant.service).and_then(|hook| {
            let owed = owed_hook(grant, hook);
            if self.at_work.len() < MAX_OPEN_JOBS {
                return Some(self.run_hook(HookEvent::Open, &owed, None));
            }
            let job = make_job(0, HookEvent::Open, &owed);
            job.log_line(Level::Error, "hook-dropped").with("waiting", MAX_OPEN_JOBS).emit();
            self.count_failure(HookEvent::Open, &grant.service);
            None
        });
        self.live.insert(grant.id, OpenGrant { grant: grant.clone(), until, close, opening });
    }

    /// A grant was closed.
    pub(super) fn note_closed(&mut self, config: &Config, id: GrantId) {
        let Some(live) = self.live.remove(&id) else { return };
        let OpenGrant { grant, close, opening, .. } = live;
        // A hook that was mended since is better; one that was taken out of the configuration has
        // still to be told.
        let now = hook_of(HookEvent::Close, config, &grant.service);
        let (place, hook) = match (close, now) {
            (Some((place, hook)), now) => (place, now.unwrap_or(hook)),
            (None, Some(hook)) => {
                let place = self.next_number();
                self.steps.push(JournalStep::Remember(place, owed_hook(&grant, hook.clone())));
                (place, hook)
            }
            (None, None) => return,
        };
        self.ended.push_back(Ended { place, owed: owed_hook(&grant, hook), after: opening });
        self.hand_out();
    }

    /// Ends those whose time is over.
    pub(super) fn end_expired(&mut self, config: &Config, now: Instant) {
        let over: Vec<GrantId> =
            self.live.iter().filter(|(_, live)| live.until <= now).map(|(id, _)| *id).collect();
        for id in over {
            self.note_closed(config, id);
        }
    }

    /// When the next time is over.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.live.values().map(|live| live.until).min()
    }

    /// The runner is done with a job.
    pub(super) fn note_report(&mut self, number: u64, good: bool) {
        let Some(job) = self.at_work.remove(&number) else {
            return log::report_internal_errors("the runner's report of an unknown job", 1);
        };
        if !good {
            self.count_failure(job.event, &job.service);
        }
        // Also one that has failed: it would fail again, and somebody has to look at the log.
        self.steps.extend(job.place.map(JournalStep::Forget));
        self.hand_out();
    }

    /// Takes the steps of the journal's thread since the last call.
    pub(super) fn take_steps(&mut self) -> Vec<JournalStep> {
        std::mem::take(&mut self.steps)
    }

    /// Failures since the last call.
    pub(super) fn take_failures(&mut self) -> Vec<HookFailures> {
        let failures = std::mem::take(&mut self.failures).into_iter();
        failures.map(|((service, hook), count)| HookFailures { service, hook, count }).collect()
    }

    /// Tells whether there are failures since the last call of `take_failures`.
    pub(super) fn has_failures(&self) -> bool {
        !self.failures.is_empty()
    }

    /// Gives the runner ends for as long as it has room: none is ever dropped.
    fn hand_out(&mut self) {
        let mut at = 0;
        while self.at_work.len() < MAX_OPEN_JOBS {
            let Some(next) = self.ended.get(at) else { return };
            if next.after.is_some_and(|job| self.at_work.contains_key(&job)) {
                at += 1;
            } else if let Some(Ended { place, owed, .. }) = self.ended.remove(at) {
                self.run_hook(HookEvent::Close, &owed, Some(place));
            }
        }
    }

    fn run_hook(&mut self, event: HookEvent, owed: &OwedHook, place: Option<u64>) -> u64 {
        let number = self.next_number();
        self.at_work.insert(number, AtWork { event, service: owed.service.clone(), place });
        self.steps.push(JournalStep::Run(make_job(number, event, owed)));
        number
    }

    fn count_failure(&mut self, event: HookEvent, service: &str) {
        *self.failures.entry((service.to_owned(), event)).or_default() += 1;
    }

    fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

fn owed_hook(grant: &Grant, hook: Hook) -> OwedHook {
    let Grant { id, client, service, source, .. } = grant;
    OwedHook {
        grant: id.0,
        client: client.to_string(),
        service: service.to_string(),
        source: *source,
        hook,
    }
}

fn make_job(number: u64, event: HookEvent, owed: &OwedHook) -> Job {
    let Hook { run, user, timeout } = owed.hook.clone();
    Job {
        number,
        run,
        user,
        limit_ms: whole_millis(timeout),
        values: [
            owed.client.clone(),
            owed.service.clone(),
            owed.source.to_string(),
            GrantId(owed.grant).to_string(),
            event.word().to_owned(),
        ],
    }
}
