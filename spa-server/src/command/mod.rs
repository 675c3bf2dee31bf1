//! The command line, one file per command.

mod audit;
mod check;
mod client;
mod firewall;
mod output;
mod status;
mod talk;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::daemon;
use spa_keys::Failure;

/// Single-packet authorization: opens the firewall to clients with a live key, and to nobody else.
#[derive(Debug, Parser)]
#[command(name = "spa-server", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server until SIGTERM; SIGHUP reads configuration and clients anew
    Run(Config),
    /// Check configuration and clients: every finding at once; exit code 78 when there is an error
    Check(check::Check),
    /// How the running server is: grants, bans, packets
    Status(status::Status),
    /// What was open: for whom, from where, from when to when, how much used, and who ended it
    Audit(audit::Audit),
    /// Add, list and remove clients
    #[command(subcommand)]
    Client(client::Client),
    /// Print, install or remove the firewall table
    #[command(subcommand)]
    Firewall(firewall::Firewall),
}

/// Where the configuration is.
#[derive(Debug, Clone, Args)]
struct Config {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/spa/spa-server.toml")]
    config: PathBuf,
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// What to print on stderr, and the exit code.
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Run(config) => daemon::run(&config.config),
            Command::Check(check) => check.run(),
            Command::Status(status) => status.run(),
            Command::Audit(audit) => audit.run(),
            Command::Client(client) => client.run(),
            Command::Firewall(firewall) => firewall.run(),
        }
    }
}
