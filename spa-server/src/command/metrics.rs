//! `spa-server metrics`.

use clap::Args;
use spa_keys::{Failure, printable};

use super::talk::Asking;
use crate::control::Command;
use crate::control::rows::MetricsText;

/// Print the counters as Prometheus text
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  spa-server metrics")]
pub(super) struct MetricsArgs {
    #[command(flatten)]
    asking: Asking,
}

impl MetricsArgs {
    /// Asks the server for its counters and prints them as they come.
    pub(super) fn run(self) -> Result<(), Failure> {
        self.asking.run(Command::Metrics, |MetricsText { text }| {
            text.lines().map(|line| format!("{}\n", printable(line))).collect()
        })
    }
}
