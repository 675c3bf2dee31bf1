//! `spa-server reload`.

use clap::Args;
use spa_keys::Failure;

use super::table::count;
use super::talk::Asking;
use crate::control::Command;
use crate::control::rows::ReloadDone;

/// Reload configuration and clients
#[derive(Debug, Args)]
#[command(after_help = "An invalid configuration changes nothing; exit code 78.\n\n\
        Example:\n  spa-server reload")]
pub(super) struct ReloadArgs {
    /// Also when no client is left, or the clients' file is missing: that locks everybody out
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    asking: Asking,
}

impl ReloadArgs {
    /// Asks the server to reload and waits until it has.
    pub(super) fn run(self) -> Result<(), Failure> {
        self.asking.run(Command::Reload { force: self.force }, |done: &ReloadDone| {
            let note = done
                .note
                .as_deref()
                .map_or_else(String::new, |note| format!("; {}", spa_keys::printable(note)));
            format!("reloaded: {}{note}\n", count(done.clients, "client"))
        })
    }
}
