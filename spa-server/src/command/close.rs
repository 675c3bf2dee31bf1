//! `spa-server close`.

use clap::Args;
use serde_json::Value;
use spa_keys::Failure;

use super::table::{rows, shown, source};
use super::talk::Asking;
use crate::control::Command;

#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false)]
pub(super) struct CloseTarget {
    /// One grant, as `spa-server grants` names it
    #[arg(value_name = "GRANT")]
    grant: Option<String>,
    /// All grants of a client, also of one that is removed already
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// All grants
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The client may knock again.\n\nExample:\n  spa-server close --client laptop"
)]
pub(super) struct Close {
    #[command(flatten)]
    which: CloseTarget,
    #[command(flatten)]
    asking: Asking,
}

impl Close {
    pub(super) fn run(self) -> Result<(), Failure> {
        let CloseTarget { grant, client, all } = self.which;
        self.asking.run(Command::Close { grant, client, all }, text)
    }
}

/// Formats the grants that were closed, a line each.
pub(super) fn text(answer: &Value) -> String {
    let closed = rows(answer, "closed");
    if closed.is_empty() {
        return "nothing was open\n".to_owned();
    }
    let line = |grant: &Value| {
        format!(
            "closed {}: {} -> {} from {}\n",
            shown(grant, "grant"),
            shown(grant, "client"),
            shown(grant, "service"),
            spa_keys::printable(&source(grant))
        )
    };
    closed.iter().map(line).collect()
}
