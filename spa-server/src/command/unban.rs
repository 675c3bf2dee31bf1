//! `spa-server unban`.

use clap::Args;
use ipnet::IpNet;
use spa_keys::{Failure, printable};

use super::table::count;
use super::talk::Asking;
use crate::control::rows::BansLifted;
use crate::control::{Command, Response};

/// Bans to lift: exactly one of the options.
#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false)]
pub(super) struct UnbanTarget {
    /// Address, or a network as `spa-server bans` shows it
    #[arg(value_name = "ADDR")]
    source: Option<String>,
    /// Everybody
    #[arg(long)]
    all: bool,
}

/// Lift bans
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  spa-server unban 192.0.2.7")]
pub(super) struct UnbanArgs {
    #[command(flatten)]
    which: UnbanTarget,
    #[command(flatten)]
    asking: Asking,
}

impl UnbanArgs {
    /// Asks the server to lift the bans and prints each.
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { which: UnbanTarget { source, all }, asking } = self;
        let outcome = asking.place().connect().and_then(|mut line| {
            let request = Command::Unban { source: source.clone(), all };
            let mut done: BansLifted = line.request(request)?;
            // A thousand at a time. Bans that strangers earn meanwhile must not keep us here for
            // ever.
            for _ in 0..done.left.div_ceil(1000) {
                let more: BansLifted = line.request(Command::Unban { source: None, all })?;
                done.lifted.extend(more.lifted);
                done.left = more.left;
            }
            Ok(Response::from_body(&done))
        });
        let text = |done: &BansLifted| text(source.as_deref(), &done.lifted);
        asking.print_response(outcome, text).map(drop)
    }
}

fn text(source: Option<&str>, lifted: &[IpNet]) -> String {
    match source {
        Some(source) if lifted.is_empty() => format!("{} was not banned\n", printable(source)),
        Some(_) => lifted.iter().map(|net| format!("lifted the ban of {net}\n")).collect(),
        None => format!("lifted {}\n", count(lifted.len(), "ban")),
    }
}
