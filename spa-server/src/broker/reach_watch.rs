//! Reach of the services, looked at again when something about this host changes, and told when
//! the answers do.

use std::time::{Duration, Instant};

use super::reply::shorten_rows;
use super::request_handler::RequestHandler;
use crate::firewall::reach::{Reach, ReachAnswer, ReachQuery};
use crate::ipc::message::{ListenerOrder, ReachState};
use crate::log::{self, Level};

/// Time between two looks at what the kernel does not announce: sysctls, legacy tables, programs
/// ahead of the rules.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// Least time between two looks.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// Most rows that are told to the listener.
const MAX_ROWS: usize = 16;

/// Rows that were told last.
#[derive(Default)]
pub(super) struct ReachWatch {
    rows: Vec<Reach>,
    told: ReachState,
    /// Number of the configuration that was looked at.
    config: u64,
    looked: Option<Instant>,
    /// Something has changed since.
    stale: bool,
}

impl ReachWatch {
    /// Something about this host has changed.
    pub(super) fn note_change(&mut self) {
        self.stale = true;
    }

    /// When the next look is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let wait = if self.stale { SHORTEST_INTERVAL } else { LOOK_INTERVAL };
        Some(self.looked? + wait)
    }

    /// Looks when it is time, and logs what is different. Returns what the listener is to be told.
    pub(super) fn tell_changes(&mut self, handler: &mut RequestHandler) -> Option<ListenerOrder> {
        let now = Instant::now();
        let number = handler.versions.current.number;
        self.stale |= self.config != number;
        if self.due().is_some_and(|due| due > now) {
            return None;
        }
        (self.looked, self.stale, self.config) = (Some(now), false, number);
        let query = ReachQuery { services: handler.list_services(), ..ReachQuery::default() };
        // Without an answer the next look asks again.
        let rows = handler.answer_reach(&query).ok()?;
        for row in &rows {
            let old = self.rows.iter().find(|old| is_same_row(old, row));
            log_change(old, row);
        }
        let count = |wanted: fn(&Reach) -> bool| rows.iter().filter(|row| wanted(row)).count();
        let state = ReachState {
            exposed: count(Reach::is_exposed) as u64,
            blocked: count(Reach::is_blocked) as u64,
            rows: shorten_rows(
                rows.iter()
                    .filter(|row| row.is_exposed() || row.is_blocked())
                    .take(MAX_ROWS)
                    .cloned()
                    .collect(),
            ),
        };
        self.rows = rows;
        (self.told != state).then(|| {
            self.told = state.clone();
            ListenerOrder::Reach(state)
        })
    }
}

fn is_same_row(one: &Reach, other: &Reach) -> bool {
    (&one.service, one.family) == (&other.service, other.family)
}

fn log_change(old: Option<&Reach>, row: &Reach) {
    let line = |level, event| {
        let family = row.family.to_string().to_lowercase();
        log::event(level, event).with("service", &row.service).with("family", family)
    };
    let was_exposed = old.is_some_and(Reach::is_exposed);
    let same_answer = old.is_some_and(|old| old.hidden.answer == row.hidden.answer);
    if row.is_exposed() && !(was_exposed && same_answer) {
        let level = if row.hidden.answer == ReachAnswer::No { Level::Error } else { Level::Warn };
        let certain = if row.hidden.answer == ReachAnswer::No { "yes" } else { "no" };
        line(level, "not-protected").with("certain", certain).with("why", &row.hidden.why).emit();
    } else if was_exposed && !row.is_exposed() {
        line(Level::Info, "protected").emit();
    }
    let was_blocked = old.is_some_and(Reach::is_blocked);
    if row.is_blocked() && !was_blocked {
        line(Level::Warn, "blocked")
            .with("why", &row.reachable.why)
            .with("do", row.remedy.as_deref().unwrap_or("see spa-server check"))
            .emit();
    } else if was_blocked && !row.is_blocked() {
        line(Level::Info, "unblocked").emit();
    }
}
