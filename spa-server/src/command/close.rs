//! `spa-server close`.

use clap::Args;
use spa_keys::{Failure, printable};

use super::talk::Asking;
use crate::control::rows::{ClosedGrant, GrantsClosed};
use crate::control::{CloseRequest, Command};

/// Grants to close: exactly one of the options.
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

/// End grants now
#[derive(Debug, Args)]
#[command(
    after_help = "The client may knock again.\n\nExample:\n  spa-server close --client laptop"
)]
pub(super) struct CloseArgs {
    #[command(flatten)]
    which: CloseTarget,
    #[command(flatten)]
    asking: Asking,
}

impl CloseArgs {
    /// Asks the server to close the grants and prints each one that was open.
    pub(super) fn run(self) -> Result<(), Failure> {
        let CloseTarget { grant, client, all } = self.which;
        self.asking.run(Command::Close(CloseRequest { grant, client, all }), text)
    }
}

fn text(GrantsClosed { closed }: &GrantsClosed) -> String {
    if closed.is_empty() {
        return "nothing was open\n".to_owned();
    }
    let line = |grant: &ClosedGrant| {
        line(&grant.grant, &grant.client, &grant.service, &grant.source.to_string())
    };
    closed.iter().map(line).collect()
}

/// A line about a grant that was closed.
pub(super) fn line(grant: &str, client: &str, service: &str, source: &str) -> String {
    let [grant, client, service] = [grant, client, service].map(printable);
    format!("closed {grant}: {client} -> {service} from {source}\n")
}
