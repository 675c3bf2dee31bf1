//! `spa-client completions`

use clap::CommandFactory;
use clap_complete::Shell;
use spa_keys::{Failure, exit};

use crate::cli;
use crate::output;

/// Prints the completions of a shell.
pub(crate) fn run_completions(shell: Shell) -> Result<u8, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut cli::Cli::command(), "spa-client", &mut text);
    // clap_complete 4.6 writes a program's name with a dash in two ways into the script for bash,
    // which then knows no options.
    let text = String::from_utf8_lossy(&text).replace("spa__subcmd__client", "spa__client");
    output::print_text(&text)?;
    Ok(exit::OK)
}
