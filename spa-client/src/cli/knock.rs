//! Arguments of the commands that knock for services.

use std::time::Duration;

use clap::Args;
use ipnet::IpNet;
use spa_keys::Failure;
use spa_keys::duration::{DurationError, parse_within};

use super::{FolderOption, Target};
use crate::address::{Family, parse_network};

/// Longest ttl that a request can carry.
const MAX_TTL: Duration = Duration::from_secs(u16::MAX as u64);
/// Longest time to try.
const MAX_TIMEOUT: Duration = Duration::from_secs(86_400);
/// Shortest duration that is worth a knock.
const MIN_DURATION: Duration = Duration::from_secs(1);

/// Options of all commands that knock.
#[derive(Clone, Debug, Args)]
pub(crate) struct KnockOptions {
    /// Tell more, on standard error
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Only over IPv4
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,
    /// Only over IPv6
    #[arg(short = '6', long)]
    ipv6: bool,
    /// Give up after this time
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_timeout)]
    pub(crate) timeout: Duration,
    /// The address, or network, under which the server sees us; another one is a relay's [default:
    /// as in config.toml]
    #[arg(long, value_name = "ADDR", value_parser = parse_network)]
    pub(crate) expect_address: Vec<IpNet>,
    /// Folder of the client's files.
    #[command(flatten)]
    pub(crate) folder: FolderOption,
    /// Unlock the key with the passphrase in the first line of this file descriptor, instead of
    /// asking for it
    #[arg(long, value_name = "N")]
    pub(crate) passphrase_fd: Option<u32>,
}

impl KnockOptions {
    /// Checks that a command whose standard input belongs to somebody else does not read it.
    pub(crate) fn check_input_unused(&self) -> Result<(), Failure> {
        if self.passphrase_fd == Some(0) {
            let message = "standard input is not ours here: open another descriptor, \
                --passphrase-fd 3 3<FILE";
            return Err(Failure::usage(message));
        }
        Ok(())
    }

    /// Returns the family that `-4` or `-6` chooses.
    pub(crate) fn chosen_family(&self) -> Family {
        match (self.ipv4, self.ipv6) {
            (true, _) => Family::V4,
            (_, true) => Family::V6,
            _ => Family::Auto,
        }
    }
}

/// Knock, and wait until the service is reachable.
#[derive(Args)]
#[command(after_help = "Exit codes: 0 reachable, 1 denied or failed, 2 usage, 3 knocked but not \
        reachable or no answer, 4 nothing was sent, 77 permission, 78 a configuration or key file \
        is wrong")]
pub(crate) struct OpenArgs {
    /// Services and host: ssh@gate.example.org, or ssh,web@gate
    #[arg(value_name = "SERVICE[,SERVICE]@HOST")]
    pub(crate) target: Target,
    /// For how long, as 90s, 30m or 2h [default: as the server gives]
    #[arg(long, value_parser = parse_ttl)]
    pub(crate) ttl: Option<u16>,
    /// Keep it open, also from another address, until Ctrl-C; then close it
    #[arg(long)]
    pub(crate) hold: bool,
    /// JSON on standard output instead of sentences: one object, with --hold one per line
    #[arg(long)]
    pub(crate) json: bool,
    /// Options of all commands that knock.
    #[command(flatten)]
    pub(crate) options: KnockOptions,
}

/// End what was opened for this address, before its time is up.
#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 closed, 1 denied or failed, 2 usage, 3 no answer, 4 nothing was \
        sent, 77 permission, 78 a configuration or key file is wrong"
)]
pub(crate) struct CloseArgs {
    /// Services and host: ssh@gate.example.org, or ssh,web@gate
    #[arg(value_name = "SERVICE[,SERVICE]@HOST")]
    pub(crate) target: Target,
    /// One JSON object on standard output instead of sentences
    #[arg(long)]
    pub(crate) json: bool,
    /// Options of all commands that knock.
    #[command(flatten)]
    pub(crate) options: KnockOptions,
}

/// Knock, wait until the service is reachable, and become a command.
#[derive(Args)]
#[command(
    after_help = "The exit code is the command's. When the command did not run: 126 it cannot be \
        run, 127 it is not there, else as of `spa-client open`"
)]
pub(crate) struct RunArgs {
    /// Services and host: ssh@gate.example.org, or ssh,web@gate
    #[arg(value_name = "SERVICE[,SERVICE]@HOST")]
    pub(crate) target: Target,
    /// For how long, as 90s, 30m or 2h [default: as the server gives]
    #[arg(long, value_parser = parse_ttl)]
    pub(crate) ttl: Option<u16>,
    /// Options of all commands that knock.
    #[command(flatten)]
    pub(crate) options: KnockOptions,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

/// Knock and connect, as ProxyCommand of ssh.
#[derive(Args)]
#[command(after_help = "In ~/.ssh/config, as `spa-client ssh-config` prints it:\n    \
        ProxyCommand spa-client connect --fdpass ssh@%n %p\n    ProxyUseFdpass yes\n\n\
        Exit codes: as of `spa-client open`; 0 when the connection has ended")]
pub(crate) struct ConnectArgs {
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
    #[arg(long, value_parser = parse_ttl)]
    pub(crate) ttl: Option<u16>,
    /// Options of all commands that knock.
    #[command(flatten)]
    pub(crate) options: KnockOptions,
}

/// Tell what is wrong, and the command that fixes it.
#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 nothing is wrong (there may be warnings), 1 something is, 2 usage, \
        78 there is no folder"
)]
pub(crate) struct DoctorArgs {
    /// The host, or SERVICE@HOST [default: everything that needs no host]
    #[arg(value_name = "[SERVICE@]HOST")]
    pub(crate) host: Option<String>,
    /// Knock too: with a service it is opened for a moment, without one nothing is
    #[arg(long, requires = "host")]
    pub(crate) knock: bool,
    /// One JSON object on standard output instead of sentences
    #[arg(long)]
    pub(crate) json: bool,
    /// Options of all commands that knock.
    #[command(flatten)]
    pub(crate) options: KnockOptions,
}

/// Parses a ttl of 1 to 65535 seconds; fractions of a second are cut off.
fn parse_ttl(text: &str) -> Result<u16, DurationError> {
    let ttl = parse_within(text, MIN_DURATION..=MAX_TTL)?;
    Ok(u16::try_from(ttl.as_secs()).unwrap_or(u16::MAX))
}

/// Parses a timeout of a second to a day.
fn parse_timeout(text: &str) -> Result<Duration, DurationError> {
    parse_within(text, MIN_DURATION..=MAX_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_times() {
        for (text, wanted) in [("90s", 90), ("1h30m", 5400), ("18h12m15s", 65535)] {
            assert_eq!(parse_ttl(text), Ok(wanted), "{text}");
        }
        for text in ["", "0s", "5", "999ms", "65536s", "19h"] {
            assert!(parse_ttl(text).is_err(), "{text}");
        }
        assert_eq!(parse_timeout("1d"), Ok(MAX_TIMEOUT));
        assert!(parse_timeout("2d").is_err() && parse_timeout("0s").is_err());
    }
}
