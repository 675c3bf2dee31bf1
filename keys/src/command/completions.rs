//! `spa completions`

use clap::CommandFactory;
use clap_complete::Shell;
use spa_keys::Failure;

use crate::command::args::Cli;
use crate::command::output;

/// Runs `spa completions`.
pub(crate) fn run(shell: Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "spa", &mut text);
    output::print_line(String::from_utf8_lossy(&text).trim_end())
}
