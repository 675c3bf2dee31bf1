//! `spa-client`: knocks, and waits until the service is reachable.
#![forbid(unsafe_code)]

mod cli;
mod clock;
mod config;
mod duration;
mod explain;
mod failure;
mod knock;
mod local;
mod open;
mod plan;
mod probe;
mod report;
mod resolve;
mod tried;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    spa_keys::forbid_core_dumps();
    let cli::Command::Open(args) = cli::Cli::parse().command;
    match open::run(&args) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(),
    }
}
