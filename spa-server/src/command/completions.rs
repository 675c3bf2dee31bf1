//! `spa-server completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use spa_keys::Failure;

use super::{Cli, output};

/// Print shell completions
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  source <(spa-server completions bash)")]
pub(super) struct CompletionsArgs {
    /// Shell
    shell: Shell,
}

impl CompletionsArgs {
    /// Prints the script for the shell.
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "spa-server", &mut text);
        // clap_complete 4.6 writes a program's name with a dash in two ways into the script for
        // bash, which then knows no options.
        let text = String::from_utf8_lossy(&text).replace("spa__subcmd__server", "spa__server");
        output::answer(&text)
    }
}
