//! `spa-server`: the daemon and its control commands. All of it is in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use spa_server::command::Cli;

fn main() -> ExitCode {
    spa_keys::forbid_core_dumps();
    spa_keys::outlive_file_limits();
    match Cli::parse_arguments().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report("spa-server"),
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
        let command = <super::Cli as clap::CommandFactory>::command();
        super::man_page::check(command, "8", include_str!("../../docs/man/spa-server.tail"));
    }
}
