//! `spa-server unban`.

use clap::Args;
use serde_json::Value;
use spa_keys::Failure;

use super::table::{count, number, rows};
use super::talk::Asking;
use crate::daemon::control::Command;

#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false)]
pub(super) struct Which {
    /// Address, or a network as `spa-server bans` shows it
    #[arg(value_name = "ADDR")]
    source: Option<String>,
    /// Everybody
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
pub(super) struct Unban {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    asking: Asking,
}

impl Unban {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Which { source, all } = self.which;
        let one = source.clone();
        self.asking.run(Command::Unban { source, all }, |answer| match (one, number(answer, "all")) {
            (Some(source), 0) => format!("{} was not banned\n", spa_keys::printable(&source)),
            (Some(_), _) => {
                let lifted = rows(answer, "lifted").iter().filter_map(Value::as_str);
                lifted.map(|net| format!("lifted the ban of {}\n", spa_keys::printable(net))).collect()
            }
            (None, all) => format!("lifted {}\n", count(all, "ban")),
        })
    }
}
