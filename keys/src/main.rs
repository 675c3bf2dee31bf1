//! `spa`: keys and enrolment on the client's side, and key files for the server.
#![forbid(unsafe_code)]

mod command;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    spa_keys::forbid_core_dumps();
    spa_keys::outlive_file_limits();
    let read = command::Cli::try_parse();
    match read.unwrap_or_else(|error| spa_keys::exit_with_usage(&error)).run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report("spa"),
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
        let command = <super::command::Cli as clap::CommandFactory>::command();
        super::man_page::check(command, "1", include_str!("../../docs/man/spa.tail"));
    }
}
