//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use spa_keys::{Failure, exit};

use crate::command::hosts::Hosts;
use crate::command::join::Join;
use crate::command::rotate::Rotate;
use crate::duration;

/// Opens services behind an SPA server.
#[derive(Parser)]
#[command(name = "spa-client", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Knock, and wait until the service is reachable
    Open(Open),
    /// End what was opened for this address, before its time is up
    Close(Close),
    /// Knock, wait until the service is reachable, and become a command
    Run(Run),
    /// Knock and connect, as ProxyCommand of ssh
    Connect(Connect),
    /// Print the lines for ~/.ssh/config that make ssh knock by itself
    SshConfig(SshConfig),
    /// Tell what is wrong, and the command that mends it
    Doctor(Doctor),
    /// Take an invitation: makes a key if there is none, and enrols it by one knock
    Join(Join),
    /// Change to new keys at a host; the old ones are good until the new ones have been seen
    Rotate(Rotate),
    /// Hosts where this client is enrolled, and their settings
    #[command(subcommand)]
    Hosts(Hosts),
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// How the host is reached: the same for all commands that knock.
#[derive(Clone, Debug, Args)]
pub(crate) struct Reach {
    /// Tell more, on standard error
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Only over IPv4
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub(crate) ipv4: bool,
    /// Only over IPv6
    #[arg(short = '6', long)]
    pub(crate) ipv6: bool,
    /// How long to try
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::timeout)]
    pub(crate) timeout: Duration,
    /// The address, or network, under which the server sees us; another one is a relay's [default:
    /// as in config.toml]
    #[arg(long, value_name = "ADDR", value_parser = network)]
    pub(crate) expect_address: Vec<IpNet>,
    /// Folder with identity, hosts and config.toml [default: ~/.config/spa]
    #[arg(long, value_name = "DIR")]
    pub(crate) config: Option<PathBuf>,
    /// Unlock the key with the passphrase in the first line of this file descriptor, instead of
    /// asking for it
    #[arg(long, value_name = "N")]
    pub(crate) passphrase_fd: Option<u32>,
}

impl Reach {
    /// For commands whose standard input is another's.
    pub(crate) fn leaves_input_alone(&self) -> Result<(), Failure> {
        if self.passphrase_fd == Some(0) {
            let message = "standard input is not ours here: open another descriptor, \
                --passphrase-fd 3 3<FILE";
            return Err(Failure::new(exit::USAGE, message));
        }
        Ok(())
    }
}

/// Knock, and wait until the service is reachable.
#[derive(Args)]
#[command(after_help = "Exit codes: 0 reachable, 1 denied or failed, 2 usage, 3 knocked but not \
        reachable or no \
                        answer, 4 nothing was sent, 77 permission, 78 a configuration or key file is wrong")]
pub(crate) struct Open {
    /// Services and host: ssh@gate.example.org, or ssh,web@gate
    #[arg(value_name = "SERVICE[,SERVICE]@HOST")]
    pub(crate) target: Target,
    /// For how long, as 90s, 30m or 2h [default: as the server gives]
    #[arg(long, value_parser = duration::ttl)]
    pub(crate) ttl: Option<u16>,
    /// Keep it open, also from another address, until Ctrl-C; then close it
    #[arg(long)]
    pub(crate) hold: bool,
    /// JSON on standard output instead of sentences: one object, with --hold one per line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// End what was opened for this address, before its time is up.
#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 closed, 1 denied or failed, 2 usage, 3 no answer, 4 nothing was \
        sent, 77 permission, 78 a \
                  configuration or key file is wrong"
)]
pub(crate) struct Close {
    /// Services and host: ssh@gate.example.org, or ssh,web@gate
    #[arg(value_name = "SERVICE[,SERVICE]@HOST")]
    pub(crate) target: Target,
    /// One JSON object on standard output instead of sentences
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Knock, wait until the service is reachable, and become a command.
#[derive(Args)]
#[command(
    after_help = "The exit code is the command's. When the command did not run: 126 it cannot be \
        run, 127 it is not there, \
                  else as of `spa-client open`"
)]
pub(crate) struct Run {
    /// Services and host: ssh@gate.example.org, or ssh,web@gate
    #[arg(value_name = "SERVICE[,SERVICE]@HOST")]
    pub(crate) target: Target,
    /// For how long, as 90s, 30m or 2h [default: as the server gives]
    #[arg(long, value_parser = duration::ttl)]
    pub(crate) ttl: Option<u16>,
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

/// Knock and connect, as ProxyCommand of ssh.
#[derive(Args)]
#[command(
    after_help = "In ~/.ssh/config, as `spa-client ssh-config` prints it:\n    ProxyCommand \
        spa-client connect --fdpass ssh@%n %p\n    \
                  ProxyUseFdpass yes\n\nExit codes: as of `spa-client open`; 0 when the connection has ended"
)]
pub(crate) struct Connect {
    /// Service and host: ssh@gate.example.org
    #[arg(value_name = "SERVICE@HOST")]
    pub(crate) target: Target,
    /// TCP port to connect to [default: the service's]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// Hand the connected socket over on standard output (ProxyUseFdpass) and end, instead of
    /// carrying the bytes
    #[arg(long)]
    pub(crate) fdpass: bool,
    /// For how long, as 90s, 30m or 2h [default: as the server gives]
    #[arg(long, value_parser = duration::ttl)]
    pub(crate) ttl: Option<u16>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Print the lines for ~/.ssh/config.
#[derive(Args)]
pub(crate) struct SshConfig {
    /// The host [default: all hosts with a service for TCP named ssh]
    pub(crate) host: Option<String>,
    /// The service that leads to sshd
    #[arg(long, default_value = "ssh")]
    pub(crate) service: String,
    /// Carry the bytes instead of handing over the socket: for programs that lack ProxyUseFdpass
    #[arg(long)]
    pub(crate) relay: bool,
    /// Folder with identity, hosts and config.toml [default: ~/.config/spa]
    #[arg(long, value_name = "DIR")]
    pub(crate) config: Option<PathBuf>,
}

/// Tell what is wrong, and the command that mends it.
#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 nothing is wrong (there may be warnings), 1 something is, 2 usage, \
        78 there is no folder"
)]
pub(crate) struct Doctor {
    /// The host, or SERVICE@HOST [default: everything that needs no host]
    #[arg(value_name = "[SERVICE@]HOST")]
    pub(crate) host: Option<String>,
    /// Knock too: with a service it is opened for a moment, without one nothing is
    #[arg(long, requires = "host")]
    pub(crate) knock: bool,
    /// One JSON object on standard output instead of sentences
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// `SERVICE[,SERVICE]@HOST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) services: Vec<String>,
    pub(crate) host: String,
}

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (services, host) =
            text.rsplit_once('@').ok_or("write SERVICE@HOST, for example ssh@gate.example.org")?;
        if host.is_empty() {
            return Err("the host is missing after the @");
        }
        let mut names: Vec<String> = Vec::new();
        for name in services.split(',') {
            if name.is_empty() {
                return Err("the name of a service is missing before the @");
            }
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        Ok(Self { services: names, host: host.to_owned() })
    }
}

/// `203.0.113.9`, `2001:db8::/32`.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    let single = text.parse::<IpAddr>().map(IpNet::from);
    single.or_else(|_| text.parse()).map_err(|_| {
        format!(
            "`{}` is no address or network: write 203.0.113.9 or 203.0.113.0/24",
            spa_keys::printable(text)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let target = |services: &[&str], host: &str| {
            Ok(Target {
                services: services.iter().map(ToString::to_string).collect(),
                host: host.into(),
            })
        };
        assert_eq!("ssh@gate".parse(), target(&["ssh"], "gate"));
        assert_eq!("ssh,web,ssh@2001:db8::1".parse(), target(&["ssh", "web"], "2001:db8::1"));
        for bad in ["", "ssh", "@gate", "ssh@", "ssh,@gate", ",ssh@gate"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }

    #[test]
    fn networks() {
        for (text, wanted) in
            [("203.0.113.9", "203.0.113.9/32"), ("2001:db8::/32", "2001:db8::/32")]
        {
            assert_eq!(network(text).map(|net| net.to_string()), Ok(wanted.to_owned()));
        }
        assert!(network("here").is_err() && network("1.2.3.4/33").is_err());
    }
}
