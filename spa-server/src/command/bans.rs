//! `spa-server bans`.

use clap::Args;
use ipnet::IpNet;
use serde_json::Value;
use spa_keys::Failure;

use super::table::{rows, table, time, word};
use super::talk::Asking;
use crate::control::Command;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  spa-server bans")]
pub(super) struct Bans {
    #[command(flatten)]
    asking: Asking,
}

impl Bans {
    pub(super) fn run(self) -> Result<(), Failure> {
        let page = |after: Option<String>| {
            let after = after.map(|after| after.parse::<IpNet>()).transpose();
            let after =
                after.map_err(|error| Failure::failed(format!("the server's answer: {error}")))?;
            Ok(Command::Bans { limit: None, after })
        };
        self.asking.run_pages("bans", page, text)
    }
}

fn text(answer: &Value) -> String {
    let bans = rows(answer, "bans");
    if bans.is_empty() {
        return "nobody is banned\n".to_owned();
    }
    let rows: Vec<Vec<String>> =
        bans.iter().map(|ban| vec![word(ban, "network"), time(ban, "left-s")]).collect();
    table(&["NETWORK", "LEFT"], &rows)
}
