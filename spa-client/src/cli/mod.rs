//! The command line: arguments of all commands, plain data.

mod hosts;
mod join;
mod knock;
mod rotate;
mod target;

pub(crate) use hosts::{AddArgs, HostCommand, SetArgs};
pub(crate) use join::JoinArgs;
pub(crate) use knock::{CloseArgs, ConnectArgs, DoctorArgs, KnockOptions, OpenArgs, RunArgs};
pub(crate) use rotate::RotateArgs;
pub(crate) use target::Target;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use spa_keys::{Failure, Folder, ServiceName};

/// Opens services behind an SPA server.
#[derive(Parser)]
#[command(name = "spa-client", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    /// Command
    pub(crate) command: Command,
}

/// Commands and their arguments.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Knock, and wait until the service is reachable
    Open(OpenArgs),
    /// End what was opened for this address, before its time is up
    Close(CloseArgs),
    /// Knock, wait until the service is reachable, and become a command
    Run(RunArgs),
    /// Knock and connect, as ProxyCommand of ssh
    Connect(ConnectArgs),
    /// Print the lines for ~/.ssh/config that make ssh knock by itself
    SshConfig(SshConfigArgs),
    /// Tell what is wrong, and the command that fixes it
    Doctor(DoctorArgs),
    /// Take an invitation: makes a key if there is none, and enrols it by one knock
    Join(JoinArgs),
    /// Change to new keys at a host; the old ones are good until the new ones have been seen
    Rotate(RotateArgs),
    /// Hosts where this client is enrolled, and their settings
    #[command(subcommand, visible_alias = "hosts")]
    Host(HostCommand),
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Print the lines for ~/.ssh/config.
#[derive(Args)]
pub(crate) struct SshConfigArgs {
    /// The host [default: all hosts with a service for TCP named ssh]
    #[arg(conflicts_with = "install")]
    pub(crate) host: Option<String>,
    /// Write the lines for all hosts to a file of their own, and include it at the top of
    /// ~/.ssh/config; it can be run again
    #[arg(long)]
    pub(crate) install: bool,
    /// The service that leads to sshd
    #[arg(long, default_value = "ssh")]
    pub(crate) service: ServiceName,
    /// Carry the bytes instead of handing over the socket: for programs that lack ProxyUseFdpass
    #[arg(long)]
    pub(crate) relay: bool,
    /// Folder of the client's files.
    #[command(flatten)]
    pub(crate) folder: FolderOption,
}

/// Option that names the folder.
#[derive(Clone, Debug, Args)]
pub(crate) struct FolderOption {
    /// Folder with identity, hosts and config.toml [default: ~/.config/spa]
    #[arg(long = "config", value_name = "DIR")]
    pub(crate) path: Option<PathBuf>,
}

impl FolderOption {
    /// Returns the folder that the user has named, or the user's own.
    pub(crate) fn find_folder(&self) -> Result<Folder, Failure> {
        match &self.path {
            Some(path) => Ok(Folder::at(path.clone())),
            None => Ok(Folder::of_user()?),
        }
    }
}
