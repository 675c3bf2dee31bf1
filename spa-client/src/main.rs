//! `spa-client`: knocks, and waits until the service is reachable.

mod attempt;
mod carry;
mod cli;
mod clock;
mod close;
mod completions;
mod config;
mod connect;
mod doctor;
mod duration;
mod explain;
mod find;
mod hold;
mod hosts;
mod join;
mod key;
mod knock;
mod local;
mod newkeys;
mod open;
mod output;
mod plan;
mod probe;
mod progress;
mod relay;
mod report;
mod resolve;
mod rotate;
mod run;
mod ssh;
mod ssh_config;
mod tried;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use cli::Command;

fn main() -> ExitCode {
    spa_keys::forbid_core_dumps();
    let done = match cli::Cli::parse().command {
        Command::Open(args) => open::run(&args),
        Command::Close(args) => close::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Connect(args) => connect::run(&args),
        Command::SshConfig(args) => ssh_config::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Join(args) => join::run(&args),
        Command::Rotate(args) => rotate::run(&args),
        Command::Hosts(args) => hosts::run(&args),
        Command::Completions { shell } => completions::run(shell),
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
