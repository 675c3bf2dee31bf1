//! Which hooks are due: the broker knows what it has opened and until when, so no word of the listener is needed for it.

use std::collections::BTreeMap;
use std::io;
use std::process::Child;
use std::time::Instant;

use super::channel::Channel;
use crate::config::{Config, Hook, Log};
use crate::firewall;
use crate::grant::Grant;
use crate::log::{self, Level};
use crate::runner::{self, Job, Task};

/// Without a hook there is no runner.
fn configured(config: &Config) -> bool {
    config.services.iter().any(|service| service.on_open.is_some() || service.on_close.is_some())
}

struct Runner {
    child: Child,
    jobs: Channel,
}

struct Live {
    grant: Grant,
    until: Instant,
}

/// The runner, and what it will have to be told.
#[derive(Default)]
pub(super) struct Hooks {
    runner: Option<Runner>,
    live: BTreeMap<u64, Live>,
    adopted: bool,
}

impl Hooks {
    /// Starts the runner when a service has a hook.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(config: &Config) -> io::Result<Self> {
        let mut hooks = Self::default();
        if configured(config) {
            let Log { format, level } = config.log;
            let (child, jobs) = runner::start(format, level)?;
            hooks.runner = Some(Runner { child, jobs });
        }
        Ok(hooks)
    }

    /// Whether anybody has to be told of anything.
    pub(super) fn is_on(&self) -> bool {
        self.runner.is_some()
    }

    /// Whether what the kernel has open is still to be learnt.
    pub(super) fn is_new(&self) -> bool {
        self.is_on() && !self.adopted
    }

    /// Grants of an earlier run: their beginning was told then.
    pub(super) fn adopt(&mut self, live: Vec<firewall::LiveGrant>) {
        self.adopted = true;
        for firewall::LiveGrant { grant, left, .. } in live {
            self.live.insert(grant.id.0, Live { until: Instant::now() + left, grant });
        }
    }

    /// A grant was opened, or renewed, which no hook is told of.
    pub(super) fn opened(&mut self, config: &Config, grant: &Grant) {
        if !self.is_on() {
            return;
        }
        let live = Live { grant: grant.clone(), until: Instant::now() + grant.ttl };
        if self.live.insert(grant.id.0, live).is_none() {
            self.tell(config, grant, "open");
        }
    }

    /// A grant was closed.
    pub(super) fn closed(&mut self, config: &Config, id: u64) {
        if let Some(live) = self.live.remove(&id) {
            self.tell(config, &live.grant, "close");
        }
    }

    /// Tells of those whose time is over.
    pub(super) fn expire(&mut self, config: &Config) {
        let now = Instant::now();
        let over: Vec<u64> =
            self.live.iter().filter(|(_, live)| live.until <= now).map(|(id, _)| *id).collect();
        for id in over {
            self.closed(config, id);
        }
    }

    /// When the next time is over.
    pub(super) fn next(&self) -> Option<Instant> {
        self.live.values().map(|live| live.until).min()
    }

    fn tell(&mut self, config: &Config, grant: &Grant, event: &str) {
        let Some(runner) = &self.runner else { return };
        let Some(service) = config.services.iter().find(|service| service.name == grant.service) else {
            return;
        };
        let hook = if event == "open" { &service.on_open } else { &service.on_close };
        let Some(Hook { run, user, timeout }) = hook else { return };
        let values = [
            grant.client.to_string(),
            grant.service.to_string(),
            grant.source.to_string(),
            grant.id.to_string(),
            event.to_owned(),
        ];
        let limit_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let job = Job { run: run.clone(), user: user.clone(), limit_ms, values };
        // Never waited for: a hook holds up no opening.
        if let Err(error) = runner.jobs.send_now(&Task::Job(job), &[]) {
            log::event(Level::Error, "hook-dropped")
                .with("service", &grant.service)
                .with("hook", event)
                .with("grant", grant.id)
                .with("error", error)
                .emit();
        }
    }

    /// Looks whether the runner has ended; then hooks end until the next start, and nothing else does.
    pub(super) fn look(&mut self) {
        let Some(runner) = &mut self.runner else { return };
        if let Ok(Some(status)) = runner.child.try_wait() {
            log::event(Level::Error, "runner-ended")
                .with("how", super::child::words(status))
                .with("do", "restart the server: until then no hook runs")
                .emit();
            self.runner = None;
            self.live.clear();
        }
    }

    /// A reload has brought the first hooks.
    pub(super) fn check(&self, config: &Config) {
        if configured(config) && !self.is_on() {
            log::event(Level::Warn, "hooks-wait")
                .with("do", "restart the server: the process that runs hooks is made at the start only")
                .emit();
        }
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        if let Some(Runner { mut child, jobs }) = self.runner.take() {
            // It sees the end of its orders, kills what runs, and ends.
            drop(jobs);
            let _status = child.wait();
        }
    }
}
