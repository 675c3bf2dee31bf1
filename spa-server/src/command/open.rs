//! `spa-server open`.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use spa_keys::{Failure, printable};

use super::table::time;
use super::talk::Asking;
use crate::control::Command;
use crate::control::rows::GrantOpened;
use crate::domain::duration;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  spa-server open ssh --for 192.0.2.7 --ttl 30m")]
pub(super) struct Open {
    /// Service
    service: String,
    /// Address that may pass
    #[arg(long = "for", value_name = "ADDR")]
    source: IpAddr,
    /// For how long, up to the service's max-ttl [default: the service's ttl]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    ttl: Option<u64>,
    #[command(flatten)]
    asking: Asking,
}

impl Open {
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

/// A time of at least a second, in seconds.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let time: Duration = duration::parse(text).map_err(|error| error.to_string())?;
    match time.as_secs() {
        0 => Err("a second is the least".to_owned()),
        seconds => Ok(seconds),
    }
}
