//! Figures for Prometheus: counted while the server runs, written as text.
//!
//! Labels come from the configuration (services, baits) or from closed sets, never from an address
//! or from what a client chose: nobody can make series. Clients are no label either, there may be a
//! million of them.

mod tally;
#[cfg(test)]
mod tests;
mod text;
mod textfile;

use std::time::Duration;

pub use tally::{BUCKETS_MS, Histogram, Tally};
pub use text::{METRIC_NAMES, text};
pub use textfile::write;

use crate::engine::Counters;

/// The server at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricsSnapshot {
    /// Version of the server.
    pub version: &'static str,
    /// When it started, unix milliseconds.
    pub started_ms: u64,
    /// Enrolled clients.
    pub clients: u64,
    /// Time for which the fence still refuses knocks.
    pub fence: Duration,
    /// Counters of the engine.
    pub counters: Counters,
    /// Packets that the kernel had no room for.
    pub lost: u64,
    /// Knock ports at which nothing is heard.
    pub missing_ports: u64,
    /// Live grants of every service.
    pub grants: Vec<(String, u64)>,
    /// Live bans; `None` when the firewall does not answer.
    pub bans: Option<u64>,
    /// Services, by family, that strangers may reach.
    pub exposed: u64,
    /// Services, by family, that a grant does not open.
    pub blocked: u64,
    /// Interfaces of the configuration that are of no use.
    pub useless_interfaces: u64,
    /// Bait hits of every group.
    pub baits: Vec<(String, u64)>,
    /// Hooks that failed or were dropped, of every service's `on-open` and `on-close`: service,
    /// `open` or `close`, how many.
    pub hooks: Vec<(String, &'static str, u64)>,
    /// Enforcers: name, ready or not, grants that it did not open.
    pub enforcers: Vec<(String, bool, u64)>,
    /// Audit entries lost.
    pub audit_lost: u64,
    /// Grants without an audit entry, because their client had too many.
    pub audit_left_out: u64,
    /// Counters outside the engine.
    pub tally: Tally,
}
