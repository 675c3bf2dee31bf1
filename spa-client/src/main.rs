//! `spa-client`: knocks, and waits until the service is reachable.
//!
//! Modules use only those of lower layers. The lowest come first:
//!
//! ```text
//! address, clock, output < cli, host, watch < plan < knock < report < hold < command
//! ```

mod address;
mod cli;
mod clock;
mod command;
mod hold;
mod host;
mod knock;
mod output;
mod plan;
mod report;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    spa_keys::forbid_core_dumps();
    spa_keys::outlive_file_limits();
    let read = Cli::try_parse();
    let done = match read.unwrap_or_else(|error| spa_keys::exit_with_usage(&error)).command {
        Command::Open(args) => command::open::run_open(&args),
        Command::Close(args) => command::close::run_close(&args),
        Command::Run(args) => command::run::run_command(&args),
        Command::Connect(args) => command::connect::run_connect(&args),
        Command::SshConfig(args) => command::ssh_config::run_ssh_config(&args),
        Command::Doctor(args) => command::doctor::run_doctor(&args),
        Command::Join(args) => command::join::run_join(&args),
        Command::Rotate(args) => command::rotate::run_rotate(&args),
        Command::Host(args) => command::hosts::run_hosts(&args),
        Command::Completions { shell } => command::completions::run_completions(shell),
    };
    match done {
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
