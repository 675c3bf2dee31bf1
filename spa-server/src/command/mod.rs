//! The command line, one file per command.

mod audit;
mod ban;
mod bans;
mod check;
mod client;
mod clients;
mod close;
mod completions;
mod countdown;
mod enrolment;
mod explain;
mod firewall;
mod grants;
mod help;
mod init;
mod invite;
mod metrics;
mod open;
mod output;
mod qr;
mod reload;
mod rights;
mod rotate_key;
mod status;
mod table;
mod talk;
#[cfg(feature = "top")]
mod top;
mod trial;
mod unban;

use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{broker, listener};
use spa_keys::Failure;

/// Single-packet authorization: opens the firewall to clients with a live key, and to nobody else.
#[derive(Debug, Parser)]
#[command(name = "spa-server", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Write a first configuration that hides ssh, and a server key
    Init(init::Init),
    /// Run the server until SIGTERM
    #[command(
        after_help = "SIGHUP reloads configuration and clients.\n\nExample:\n  spa-server run"
    )]
    Run(Config),
    /// The part of the server that reads packets; `run` starts it
    #[command(hide = true)]
    Listen(Config),
    /// The part of the server that runs hooks; `run` starts it
    #[command(hide = true)]
    RunHooks,
    /// Check the configuration, the clients and this host
    Check(check::Check),
    /// Show the running server: protection, knocks, packets, grants
    Status(status::Status),
    /// List what is open: client, service, source, time left
    Grants(grants::GrantsArgs),
    /// Open a service for an address without a knock
    Open(open::OpenArgs),
    /// End grants now
    Close(close::Close),
    /// List the bans
    Bans(bans::Bans),
    /// Ban an address
    Ban(ban::BanArgs),
    /// Lift bans
    Unban(unban::Unban),
    /// List the clients that the running server knows
    Clients(clients::ClientsArgs),
    /// Explain whether a knock would be granted, and by which rule
    Explain(explain::Explain),
    /// Reload configuration and clients
    Reload(reload::Reload),
    /// Reload on trial: roll back unless confirmed in time
    Try(trial::Try),
    /// Keep the configuration that is on trial
    Confirm(trial::Confirm),
    /// Print the counters as Prometheus text
    Metrics(metrics::MetricsArgs),
    /// List past and present grants: who, from where, how long
    Audit(audit::AuditArgs),
    /// Watch grants, bans and knocks on the terminal
    #[cfg(feature = "top")]
    Top(top::Top),
    /// Add, list and remove clients
    #[command(subcommand)]
    Client(client::Client),
    /// Invite a device: print a line that enrols it once
    Invite(Box<invite::Invite>),
    /// List the invitations that are not used yet
    Invitations(invite::Invitations),
    /// Replace the server key without locking anybody out
    RotateKey(rotate_key::RotateKey),
    /// Print, install or remove the firewall table
    #[command(subcommand)]
    Firewall(firewall::Firewall),
    /// Print shell completions
    Completions(completions::Completions),
}

/// The configuration of this host.
const DEFAULT_CONFIG: &str = "/etc/spa/spa-server.toml";

/// Where the configuration is.
#[derive(Debug, Clone, Args)]
struct Config {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

impl Cli {
    /// Reads the arguments of this process; prints help, version and usage errors, and exits.
    pub fn parse_arguments() -> Self {
        let mut command = help::group_commands(Self::command());
        let matches = command.get_matches_mut();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
    }

    /// Does what the command line says.
    ///
    /// # Errors
    /// What to print on stderr, and the exit code.
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            CliCommand::Init(init) => init.run(),
            CliCommand::Run(config) => broker::run_broker(&config.config),
            CliCommand::Listen(config) => listener::run_listener(&config.config),
            CliCommand::RunHooks => crate::runner::run_runner(),
            CliCommand::Check(check) => check.run(),
            CliCommand::Status(status) => status.run(),
            CliCommand::Grants(grants) => grants.run(),
            CliCommand::Open(open) => open.run(),
            CliCommand::Close(close) => close.run(),
            CliCommand::Bans(bans) => bans.run(),
            CliCommand::Ban(ban) => ban.run(),
            CliCommand::Unban(unban) => unban.run(),
            CliCommand::Clients(clients) => clients.run(),
            CliCommand::Explain(explain) => explain.run(),
            CliCommand::Reload(reload) => reload.run(),
            CliCommand::Try(trial) => trial.run(),
            CliCommand::Confirm(confirm) => confirm.run(),
            CliCommand::Metrics(metrics) => metrics.run(),
            CliCommand::Audit(audit) => audit.run(),
            #[cfg(feature = "top")]
            CliCommand::Top(top) => top.run(),
            CliCommand::Client(client) => client.run(),
            CliCommand::Invite(invite) => invite.run(),
            CliCommand::Invitations(invitations) => invitations.run(),
            CliCommand::RotateKey(rotate) => rotate.run(),
            CliCommand::Firewall(firewall) => firewall.run(),
            CliCommand::Completions(completions) => completions.run(),
        }
    }
}
