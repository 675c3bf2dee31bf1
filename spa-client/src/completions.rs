//! `spa-client completions`

use clap::CommandFactory;
use clap_complete::Shell;
use spa_keys::{Failure, exit};

use crate::{cli, output};

/// Prints them.
pub(crate) fn run(shell: Shell) -> Result<u8, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut cli::Cli::command(), "spa-client", &mut text);
    output::text(&String::from_utf8_lossy(&text))?;
    Ok(exit::OK)
}
