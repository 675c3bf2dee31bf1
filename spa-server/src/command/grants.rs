//! `spa-server grants`.

use clap::Args;
use serde_json::Value;
use spa_keys::Failure;

use super::table::{rows, source, table, time, word};
use super::talk::Asking;
use crate::control::Command;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  spa-server grants")]
pub(super) struct GrantsArgs {
    #[command(flatten)]
    asking: Asking,
}

impl GrantsArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.asking.run(Command::Grants, text)
    }
}

/// Number of connections that a grant let in; `-` where nobody counts.
pub(super) fn used(grant: &Value) -> String {
    grant
        .get("used")
        .and_then(Value::as_u64)
        .map_or_else(|| "-".to_owned(), |used| used.to_string())
}

fn text(answer: &Value) -> String {
    let grants = rows(answer, "grants");
    if grants.is_empty() {
        return "nothing is open\n".to_owned();
    }
    let row = |grant: &Value| {
        vec![
            word(grant, "client"),
            word(grant, "service"),
            source(grant),
            time(grant, "left-s"),
            used(grant),
            word(grant, "grant"),
        ]
    };
    let rows: Vec<Vec<String>> = grants.iter().map(row).collect();
    table(&["CLIENT", "SERVICE", "SOURCE", "LEFT", "USED", "GRANT"], &rows)
}
