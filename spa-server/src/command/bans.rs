//! `spa-server bans`.

use clap::Args;
use ipnet::IpNet;
use spa_keys::Failure;

use super::table::{table, time};
use super::talk::Asking;
use crate::control::Command;
use crate::control::rows::{BanList, BanRow};

/// List the bans
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  spa-server bans")]
pub(super) struct BansArgs {
    #[command(flatten)]
    asking: Asking,
}

impl BansArgs {
    /// Asks the server for all pages of its bans and prints them as one table.
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

fn text(BanList { bans, .. }: &BanList) -> String {
    if bans.is_empty() {
        return "nobody is banned\n".to_owned();
    }
    let row = |ban: &BanRow| vec![ban.network.to_string(), time(ban.left_s)];
    let rows: Vec<Vec<String>> = bans.iter().map(row).collect();
    table(&["NETWORK", "LEFT"], &rows)
}
