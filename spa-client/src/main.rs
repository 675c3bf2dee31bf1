//! `spa-client`: knocks, and waits until the service is reachable.
#![forbid(unsafe_code)]

mod cli;
mod clock;
mod config;
mod duration;
mod explain;
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
        Err(failure) => failure.report("spa-client"),
    }
}

#[cfg(test)]
#[path = "../../docs/man/page.rs"]
#[allow(clippy::expect_used, clippy::panic)]
mod man_page;

#[cfg(test)]
mod tests {
    #[test]
    fn manual_page() {
        let command = <super::cli::Cli as clap::CommandFactory>::command();
        super::man_page::check(command, "1", include_str!("../../docs/man/spa-client.tail"));
    }
}
