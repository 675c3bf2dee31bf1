//! The command line, one file per command.

mod audit;
mod ban;
mod bans;
mod check;
mod client;
mod clients;
mod close;
mod countdown;
mod explain;
mod firewall;
mod grants;
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

use clap::{Args, Parser, Subcommand};

use crate::{broker, listener};
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
    /// Write a first configuration that hides ssh, and make the key; asks nothing, overwrites
    /// nothing
    Init(init::Init),
    /// Run the server until SIGTERM; SIGHUP reads configuration and clients anew
    Run(Config),
    /// The part of the server that reads packets; `run` starts it
    #[command(hide = true)]
    Listen(Config),
    /// The part of the server that runs hooks; `run` starts it
    #[command(hide = true)]
    RunHooks,
    /// Check configuration and clients: every finding at once; exit code 78 when there is an error
    Check(check::Check),
    /// How the running server is: grants, bans, packets
    Status(status::Status),
    /// What is open: client, service, source, time left, connections
    Grants(grants::Grants),
    /// Open a service for an address without a knock
    Open(open::Open),
    /// End grants now; the client may knock again
    Close(close::Close),
    /// Who is banned, and for how long yet
    Bans(bans::Bans),
    /// Ban an address
    Ban(ban::Ban),
    /// Lift bans
    Unban(unban::Unban),
    /// The clients as the running server knows them, and when each was last let in
    Clients(clients::Clients),
    /// Whether a knock would open, which rule says what, and what the last ones came to; exit code
    /// 1 when it would not
    Explain(explain::Explain),
    /// Read configuration and clients anew; a bad configuration changes nothing, exit code 78
    Reload(reload::Reload),
    /// Read them anew on trial: rolled back by itself unless `confirm` comes in time; a bad
    /// configuration changes nothing, exit code 78
    Try(trial::Try),
    /// Keep what is on trial: you could log in anew
    Confirm(trial::Confirm),
    /// The counters as Prometheus text
    Metrics(metrics::Metrics),
    /// What was open: for whom, from where, from when to when, how much used, and who ended it
    Audit(audit::Audit),
    /// Grants, bans, knocks and noise on the terminal, with keys to close a grant and to lift a ban
    #[cfg(feature = "top")]
    Top(top::Top),
    /// Add, list and remove clients
    #[command(subcommand)]
    Client(client::Client),
    /// Invite a device: one line that enrols it, once; `spa join` takes it there
    Invite(Box<invite::Invite>),
    /// The invitations that nobody has taken yet
    Invitations(invite::Invitations),
    /// Another key for the server without locking anybody out: both are good until `--finish`
    RotateKey(rotate_key::RotateKey),
    /// Print, install or remove the firewall table
    #[command(subcommand)]
    Firewall(firewall::Firewall),
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
    /// Does what the command line says.
    ///
    /// # Errors
    /// What to print on stderr, and the exit code.
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Init(init) => init.run(),
            Command::Run(config) => broker::run_broker(&config.config),
            Command::Listen(config) => listener::run_listener(&config.config),
            Command::RunHooks => crate::runner::run_runner(),
            Command::Check(check) => check.run(),
            Command::Status(status) => status.run(),
            Command::Grants(grants) => grants.run(),
            Command::Open(open) => open.run(),
            Command::Close(close) => close.run(),
            Command::Bans(bans) => bans.run(),
            Command::Ban(ban) => ban.run(),
            Command::Unban(unban) => unban.run(),
            Command::Clients(clients) => clients.run(),
            Command::Explain(explain) => explain.run(),
            Command::Reload(reload) => reload.run(),
            Command::Try(trial) => trial.run(),
            Command::Confirm(confirm) => confirm.run(),
            Command::Metrics(metrics) => metrics.run(),
            Command::Audit(audit) => audit.run(),
            #[cfg(feature = "top")]
            #[cfg(feature = "top")]
            Command::Top(top) => top.run(),
            Command::Client(client) => client.run(),
            Command::Invite(invite) => invite.run(),
            Command::Invitations(invitations) => invitations.run(),
            Command::RotateKey(rotate) => rotate.run(),
            Command::Firewall(firewall) => firewall.run(),
        }
    }
}
