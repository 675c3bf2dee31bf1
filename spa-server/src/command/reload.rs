//! `spa-server reload`.

use clap::Args;
use serde_json::Value;
use spa_keys::Failure;

use super::table::{count, number};
use super::talk::Asking;
use crate::control::Command;

#[derive(Debug, Args)]
#[command(after_help = "An invalid configuration changes nothing; exit code 78.\n\n\
        Example:\n  spa-server reload")]
pub(super) struct Reload {
    #[command(flatten)]
    asking: Asking,
}

impl Reload {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.asking.run(Command::Reload, |answer| {
            let note = answer.get("note").and_then(Value::as_str);
            let note =
                note.map_or_else(String::new, |note| format!("; {}", spa_keys::printable(note)));
            format!("reloaded: {}{note}\n", count(number(answer, "clients"), "client"))
        })
    }
}
