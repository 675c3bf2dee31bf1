//! `spa-server open`.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use spa_keys::{Failure, printable};

use super::table::time;
use super::talk::Asking;
use crate::control::Command;
use crate::control::rows::GrantOpened;
use spa_keys::duration::{self, DurationError};

/// Open a service for an address without a knock
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  spa-server open ssh --for 192.0.2.7 --ttl 30m")]
pub(super) struct OpenArgs {
    /// Service
    service: String,
    /// Address that may pass
    #[arg(long = "for", value_name = "ADDR")]
    source: IpAddr,
    /// For how long, up to the service's max-ttl [default: the service's ttl]
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    ttl: Option<u64>,
    #[command(flatten)]
    asking: Asking,
}

impl OpenArgs {
    /// Asks the server for the grant and prints its number, by which it can be closed.
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { service, source, ttl, asking } = self;
        asking.run(Command::Open { service, source, ttl_s: ttl }, |opened: &GrantOpened| {
            format!(
                "opened {} for {} for {}; to end it: spa-server close {}\n",
                printable(&opened.service),
                opened.source,
                time(opened.ttl_s),
                printable(&opened.grant)
            )
        })
    }
}

/// Longest time that a command line may name: a hundred years. The server has limits of its own.
const MAX_TIME: Duration = Duration::from_secs(100 * 366 * 86_400);

/// Parses a time of at least a second, to whole seconds.
pub(super) fn parse_seconds(text: &str) -> Result<u64, DurationError> {
    duration::parse_within(text, Duration::from_secs(1)..=MAX_TIME).map(|time| time.as_secs())
}
