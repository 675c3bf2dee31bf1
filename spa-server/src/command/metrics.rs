//! `spa-server metrics`.

use clap::Args;
use serde_json::Value;
use spa_keys::{Failure, printable};

use super::talk::Asking;
use crate::control::Command;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  spa-server metrics")]
pub(super) struct MetricsArgs {
    #[command(flatten)]
    asking: Asking,
}

impl MetricsArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.asking.run(Command::Metrics, |answer| {
            let text = answer.get("text").and_then(Value::as_str).unwrap_or_default();
            text.lines().map(|line| format!("{}\n", printable(line))).collect()
        })
    }
}
