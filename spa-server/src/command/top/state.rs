//! State of `top`: a function of the server's answers, the keys and the time. The screen is drawn
//! from it.

use std::collections::VecDeque;
use std::time::Duration;

use spa_keys::printable;

use super::super::table::{or_dash, time_left};
use crate::control::rows::{BanRow, GrantRow};
use crate::control::status::ServerStatus;

/// Seconds of noise that are remembered: more than a terminal is wide.
const NOISE_HISTORY_SECONDS: usize = 512;
/// Time that a message about an order stays.
const MESSAGE_TIME: Duration = Duration::from_secs(5);

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    Close,
    Unban,
    Yes,
    No,
    Quit,
}

/// Effect of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Quit,
    /// By its number, `g42`.
    Close(String),
    /// By its network.
    Unban(String),
}

/// One row of either list; its name is what an order calls it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The grant's number, or the banned network.
    pub(super) name: String,
    /// Client, service and source of a grant; nothing for a ban.
    pub(super) cells: Vec<String>,
    /// Time left when it was told.
    pub(super) left: Duration,
}

/// Counts since the server's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    knocks: u64,
    noise: u64,
}

/// Everything.
#[derive(Debug, Default)]
pub(super) struct TopState {
    now: Duration,
    /// The last answer, and when it came.
    pub(super) answer: Option<Box<ServerStatus>>,
    answered: Option<Duration>,
    counts: Counts,
    /// Rows of the live grants.
    pub(super) grants: Vec<Row>,
    /// Rows of the first bans.
    pub(super) bans: Vec<Row>,
    obstacles: Vec<String>,
    /// Name of the selected row.
    selected: Option<String>,
    /// The grant that is about to be closed.
    pub(super) asked: Option<String>,
    /// Reason why the last question had no answer; what is shown is old then.
    pub(super) lost: Option<String>,
    said: Option<(Duration, String)>,
    /// Per second.
    pub(super) knocks: f64,
    /// Per second, the last one first.
    pub(super) noise: VecDeque<u64>,
}

impl TopState {
    /// Time goes on.
    pub(super) fn advance_to(&mut self, now: Duration) {
        self.now = now;
        if self.said.as_ref().is_some_and(|(since, _)| now.saturating_sub(*since) > MESSAGE_TIME) {
            self.said = None;
        }
    }

    /// An answer has come.
    pub(super) fn update(&mut self, now: Duration, status: Box<ServerStatus>, bans: &[BanRow]) {
        let (knocks, packets) = (&status.knocks, &status.packets);
        let sum = |counts: &[u64]| counts.iter().copied().fold(0, u64::saturating_add);
        let counts = Counts {
            knocks: sum(&[knocks.granted, knocks.denied, knocks.stale, knocks.failed]),
            noise: sum(&[
                packets.strangers,
                packets.replayed,
                packets.wrong_port,
                packets.not_authentic,
                packets.over_budget,
                packets.lost,
            ]),
        };
        if let Some(before) = self.answered {
            let seconds = now.saturating_sub(before).as_secs_f64().max(0.001);
            // Fewer than before: another server has started.
            let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
            self.knocks = rate(counts.knocks, self.counts.knocks);
            self.noise.push_front(rate(counts.noise, self.counts.noise).round() as u64);
            self.noise.truncate(NOISE_HISTORY_SECONDS);
        }
        self.counts = counts;
        self.answered = Some(now);
        self.now = now;
        self.lost = None;
        self.grants = status.grants.iter().map(grant).collect();
        self.grants.sort_by(|a, b| a.cells.cmp(&b.cells).then_with(|| a.name.cmp(&b.name)));
        self.bans = bans.iter().map(ban).collect();
        // Left out of most answers.
        if let Some(obstacles) = &status.obstacles {
            let obstacles = obstacles.iter();
            self.obstacles = obstacles
                .map(|found| format!("{}: {}", printable(&found.chain), printable(&found.text)))
                .collect();
        }
        self.answer = Some(status);
        let gone = |name: &String| !self.rows().any(|row| row.name == *name);
        if self.selected.as_ref().is_none_or(gone) {
            let first = self.grants.first().or(self.bans.first());
            self.selected = first.map(|row| row.name.clone());
        }
        if self
            .asked
            .as_ref()
            .is_some_and(|asked| !self.grants.iter().any(|grant| grant.name == *asked))
        {
            self.asked = None;
        }
    }

    /// The server does not answer.
    pub(super) fn lose(&mut self, why: String) {
        self.lost = Some(why);
        self.answered = None;
        self.asked = None;
    }

    /// Something to tell for a while.
    pub(super) fn show_message(&mut self, words: String) {
        self.said = Some((self.now, words));
    }

    /// Message to show, until its time is over.
    pub(super) fn message(&self) -> Option<&str> {
        self.said.as_ref().map(|(_, words)| words.as_str())
    }

    /// A key was pressed.
    pub(super) fn key(&mut self, key: Key) -> Option<Wish> {
        if let Some(asked) = self.asked.take() {
            match key {
                Key::Yes => return Some(Wish::Close(asked)),
                Key::Quit => return Some(Wish::Quit),
                // Any other key is no yes.
                _ => return None,
            }
        }
        match key {
            Key::Quit => return Some(Wish::Quit),
            Key::Up => self.move_selection(|at| at.saturating_sub(1)),
            Key::Down => self.move_selection(|at| at + 1),
            Key::Close => {
                self.asked =
                    self.selected_index(&self.grants).map(|at| self.name_of(&self.grants, at))
            }
            Key::Unban => {
                return self
                    .selected_index(&self.bans)
                    .map(|at| Wish::Unban(self.name_of(&self.bans, at)));
            }
            Key::Yes | Key::No => {}
        }
        None
    }

    fn move_selection(&mut self, step: impl FnOnce(usize) -> usize) {
        let names: Vec<&String> = self.rows().map(|row| &row.name).collect();
        let at = names.iter().position(|name| Some(*name) == self.selected.as_ref()).unwrap_or(0);
        let to = step(at).min(names.len().saturating_sub(1));
        self.selected = names.get(to).map(|name| (*name).clone());
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.grants.iter().chain(&self.bans)
    }

    /// Where the selection is in one of the lists.
    pub(super) fn selected_index(&self, rows: &[Row]) -> Option<usize> {
        rows.iter().position(|row| Some(&row.name) == self.selected.as_ref())
    }

    fn name_of(&self, rows: &[Row], at: usize) -> String {
        rows.get(at).map_or_else(String::new, |row| row.name.clone())
    }

    /// Time that a row has left now: what the kernel said, less the time since.
    pub(super) fn left(&self, row: &Row) -> Duration {
        let since =
            self.answered.map_or(Duration::ZERO, |answered| self.now.saturating_sub(answered));
        row.left.saturating_sub(since)
    }

    /// Warnings, each one a line.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut out = Vec::new();
        if let Some(lost) = &self.lost {
            out.push(format!("no answer, these figures are old: {}", printable(lost)));
        }
        if let Some(status) = &self.answer {
            let fence = status.fence_left_s;
            if fence > 0.0 {
                let fence = time_left(fence);
                out.push(format!("knocks are refused for {fence} more (replay fence)"));
            }
            let useless = &status.protection.useless_interfaces;
            if !status.protection.in_force && useless.is_empty() {
                out.push(
                    "nothing is protected: the backend observes, or our table is damaged"
                        .to_owned(),
                );
            }
            out.extend(useless.iter().map(|useless| printable(useless).to_string()));
            if status.clock.synchronised == Some(false) {
                out.push("the clock is not synchronised: timedatectl set-ntp true".to_owned());
            }
            if status.reload.as_ref().is_some_and(|reload| !reload.ok) {
                out.push("the last reload was refused: spa-server check".to_owned());
            }
        }
        out.extend(self.obstacles.iter().cloned());
        out
    }
}

fn grant(row: &GrantRow) -> Row {
    Row {
        name: printable(&row.grant).to_string(),
        cells: vec![
            printable(&row.client).to_string(),
            printable(&row.service).to_string(),
            row.network_text(),
            or_dash(row.used),
        ],
        left: Duration::from_secs(row.left_s),
    }
}

fn ban(row: &BanRow) -> Row {
    Row { name: row.network.to_string(), cells: Vec::new(), left: Duration::from_secs(row.left_s) }
}
