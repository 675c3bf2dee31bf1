//! The command line, one file per command.

mod accept_clock;
mod audit;
mod backends;
mod backup;
mod backup_archive;
mod ban;
mod bans;
mod check;
mod client;
mod client_list;
mod client_undo;
mod clients;
mod close;
mod completions;
mod conformance;
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
mod render;
mod restore;
mod rights;
mod rotate_key;
mod status;
mod table;
mod talk;
#[cfg(feature = "top")]
mod top;
mod trial;
mod unban;
mod uninstall_check;

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
    Init(init::InitArgs),
    /// Run the server until SIGTERM
    #[command(
        after_help = "SIGHUP reloads configuration and clients.\n\nExample:\n  spa-server run"
    )]
    Run(ConfigArg),
    /// The part of the server that reads packets; `run` starts it
    #[command(hide = true)]
    Listen(ConfigArg),
    /// The part of the server that runs hooks; `run` starts it
    #[command(hide = true)]
    RunHooks,
    /// The part of the server that watches over an enforcer's process; `run` starts it
    #[command(hide = true)]
    WatchEnforcer,
    /// The part of the server that speaks to one enforcer
    #[command(hide = true)]
    RunEnforcer,
    Check(check::CheckArgs),
    Status(status::StatusArgs),
    Grants(grants::GrantsArgs),
    Open(open::OpenArgs),
    Close(close::CloseArgs),
    Bans(bans::BansArgs),
    Ban(ban::BanArgs),
    Unban(unban::UnbanArgs),
    Clients(clients::ClientsArgs),
    Explain(explain::ExplainArgs),
    Reload(reload::ReloadArgs),
    Try(trial::TryArgs),
    Confirm(trial::ConfirmArgs),
    Metrics(metrics::MetricsArgs),
    Audit(audit::AuditArgs),
    AcceptClock(accept_clock::AcceptClockArgs),
    #[cfg(feature = "top")]
    Top(top::TopArgs),
    #[command(subcommand)]
    Client(client::ClientCommand),
    Invite(Box<invite::InviteArgs>),
    Invitations(invite::InvitationsArgs),
    RotateKey(rotate_key::RotateKeyArgs),
    Backup(backup::BackupArgs),
    Restore(restore::RestoreArgs),
    #[command(subcommand)]
    Firewall(firewall::FirewallCommand),
    Completions(completions::CompletionsArgs),
    UninstallCheck(uninstall_check::UninstallCheckArgs),
}

/// The configuration of this host.
const DEFAULT_CONFIG: &str = "/etc/spa/spa-server.toml";

/// Where the configuration is.
#[derive(Debug, Clone, Args)]
struct ConfigArg {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

impl Cli {
    /// Reads the arguments of this process; prints help, version and usage errors, and exits.
    pub fn parse_arguments() -> Self {
        let mut command = help::group_commands(Self::command());
        let read = command.try_get_matches_from_mut(std::env::args_os()).and_then(|matches| {
            Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
        });
        read.unwrap_or_else(|error| spa_keys::exit_with_usage(&error))
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
            CliCommand::WatchEnforcer => crate::enforcer::watch_enforcer(),
            CliCommand::RunEnforcer => crate::enforcer::run_enforcer(),
            CliCommand::Check(check) => check.run(),
            CliCommand::Status(status) => status.run(),
            CliCommand::AcceptClock(accept) => accept.run(),
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
            CliCommand::Backup(backup) => backup.run(),
            CliCommand::Restore(restore) => restore.run(),
            CliCommand::Firewall(firewall) => firewall.run(),
            CliCommand::Completions(completions) => completions.run(),
            CliCommand::UninstallCheck(uninstall) => uninstall.run(),
        }
    }
}
