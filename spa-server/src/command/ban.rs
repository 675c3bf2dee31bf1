//! `spa-server ban`.

use clap::Args;
use spa_keys::Failure;

use super::open::parse_seconds;
use super::table::{time, words};
use super::talk::Asking;
use crate::control::Command;
use crate::control::rows::Banned;
use crate::firewall::Authenticated;

/// Ban an address
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  spa-server ban 192.0.2.7 --time 1d")]
pub(super) struct BanArgs {
    /// Address; of IPv6 its /64
    #[arg(value_name = "ADDR")]
    source: String,
    /// For how long
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_seconds)]
    time: u64,
    #[command(flatten)]
    asking: Asking,
}

impl BanArgs {
    /// Asks the server for the ban and prints which grants are open in spite of it.
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { source, time, asking } = self;
        asking.run(Command::Ban { source, time_s: Some(time) }, text)
    }
}

fn text(banned: &Banned) -> String {
    let mut out = format!("banned {} for {}\n", banned.network, time(banned.time_s));
    if !banned.grants.is_empty() {
        let grants = words(&banned.grants);
        let grants = spa_keys::printable(&grants);
        out.push_str(&if banned.authenticated == Authenticated::Strict {
            format!("it still has {grants} open; to close them: spa-server close\n")
        } else {
            format!(
                "it can still connect while it has {grants} open, and a knock lifts the ban; to \
                close them: spa-server close\n"
            )
        });
    }
    out
}
