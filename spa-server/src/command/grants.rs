//! `spa-server grants`.

use clap::Args;
use spa_keys::Failure;

use super::table::{or_dash, table, time};
use super::talk::Asking;
use crate::control::Command;
use crate::control::rows::{GrantList, GrantRow};

/// List what is open: client, service, source, time left
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  spa-server grants")]
pub(super) struct GrantsArgs {
    #[command(flatten)]
    asking: Asking,
}

impl GrantsArgs {
    /// Asks the server for its grants and prints them as a table.
    pub(super) fn run(self) -> Result<(), Failure> {
        self.asking.run(Command::Grants, text)
    }
}

fn text(GrantList { grants }: &GrantList) -> String {
    if grants.is_empty() {
        return "nothing is open\n".to_owned();
    }
    let row = |grant: &GrantRow| {
        vec![
            grant.client.clone(),
            grant.service.clone(),
            grant.network_text(),
            time(grant.left_s),
            or_dash(grant.used),
            grant.grant.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = grants.iter().map(row).collect();
    table(&["CLIENT", "SERVICE", "SOURCE", "LEFT", "USED", "GRANT"], &rows)
}
