//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

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
}

/// Knock, and wait until the service is reachable.
#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 reachable, 1 denied or failed, 2 usage, 3 knocked but not reachable or no \
                        answer, 4 nothing was sent, 77 permission, 78 a configuration or key file is wrong"
)]
pub(crate) struct Open {
    /// Services and host: ssh@gate.example.org, or ssh,web@gate
    #[arg(value_name = "SERVICE[,SERVICE]@HOST")]
    pub(crate) target: Target,
    /// For how long, as 90s, 30m or 2h [default: as the server gives]
    #[arg(long, value_parser = duration::ttl)]
    pub(crate) ttl: Option<u16>,
    /// One JSON object on standard output instead of sentences
    #[arg(long)]
    pub(crate) json: bool,
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
    /// Folder with identity, hosts and config.toml [default: ~/.config/spa]
    #[arg(long, value_name = "DIR")]
    pub(crate) config: Option<PathBuf>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let target = |services: &[&str], host: &str| {
            Ok(Target { services: services.iter().map(ToString::to_string).collect(), host: host.into() })
        };
        assert_eq!("ssh@gate".parse(), target(&["ssh"], "gate"));
        assert_eq!("ssh,web,ssh@2001:db8::1".parse(), target(&["ssh", "web"], "2001:db8::1"));
        for bad in ["", "ssh", "@gate", "ssh@", "ssh,@gate", ",ssh@gate"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
