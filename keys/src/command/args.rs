//! The command line of `spa`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use spa_keys::duration::{self, DurationError};

/// Keys and enrolment for SPA.
#[derive(Parser)]
#[command(name = "spa", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// Subcommand with its arguments.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Subcommands of `spa`; those that knock are handed to `spa-client`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a key file and print its public key
    Keygen(Keygen),
    /// Print the public key of a key file
    #[command(after_help = "Example:\n  spa pubkey")]
    Pubkey {
        /// Key file [default: identity in the configuration folder]
        file: Option<PathBuf>,
    },
    /// Set, change or remove the passphrase of a key file
    Passwd(Passwd),
    /// Have the kernel remember a key file's passphrase for a while
    Unlock(Unlock),
    /// Forget a remembered passphrase
    #[command(after_help = "Example:\n  spa lock")]
    Lock {
        /// Key file [default: identity in the configuration folder]
        file: Option<PathBuf>,
    },
    /// Show what a file or text is; never prints a secret
    #[command(after_help = "Example:\n  spa inspect spa1…")]
    Inspect {
        /// A file, a text such as spa1…, or - for standard input [default: your key file]
        what: Option<String>,
    },
    /// Look for problems with keys, hosts and settings, and show the commands that fix them
    Check(CheckArgs),
    /// Knock, and wait until the service is reachable; runs `spa-client open`
    #[command(
        after_help = "Options: spa-client open --help\n\nExample:\n  spa open ssh@gate.example.org"
    )]
    Open {
        /// Services and host, and options of `spa-client open`
        #[arg(
            required = true,
            value_name = "SERVICE[,SERVICE]@HOST",
            trailing_var_arg = true,
            allow_hyphen_values = true
        )]
        rest: Vec<std::ffi::OsString>,
    },
    /// Knock and connect, as ProxyCommand of ssh; runs `spa-client connect`
    #[command(after_help = "Options: spa-client connect --help\n\n\
            Example:\n  ssh -o ProxyCommand='spa connect ssh@%h' gate.example.org")]
    Connect {
        /// Service, host and port, and options of `spa-client connect`
        #[arg(
            required = true,
            value_name = "SERVICE@HOST",
            trailing_var_arg = true,
            allow_hyphen_values = true
        )]
        rest: Vec<std::ffi::OsString>,
    },
    /// Take an invitation: makes a key if there is none, and enrols it by one knock
    #[command(
        after_help = "Reads the line from standard input, where no other user can see it.\nMore \
            options: spa-client join --help\n\nExample:\n  spa join -"
    )]
    Join {
        /// The line SPA-INVITATION-1…, a file with it, or - for standard input
        #[arg(default_value = "-", allow_hyphen_values = true)]
        line: std::ffi::OsString,
        /// Options of `spa-client join`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<std::ffi::OsString>,
    },
    /// Change to new keys at a host; the old ones are good until the new ones have been seen
    #[command(
        after_help = "Options: spa-client rotate --help\n\nExample:\n  spa rotate gate.example.org"
    )]
    Rotate {
        /// Host, and options of `spa-client rotate`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<std::ffi::OsString>,
    },
    #[command(subcommand, visible_alias = "hosts")]
    Host(Host),
    /// Read the configuration of another knocker and write ours
    Import(Import),
    /// Print shell completions
    #[command(after_help = "Example:\n  source <(spa completions bash)")]
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
}

/// Make a key file.
#[derive(Args)]
#[command(after_help = "Example:\n  spa keygen --passphrase")]
pub(crate) struct Keygen {
    /// Where to write it, never over an existing file [default: identity in the configuration
    /// folder]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Make a server's key instead of a client's
    #[arg(long, requires = "output")]
    pub(crate) server: bool,
    /// Leave the signing half to an Ed25519 key in your ssh-agent: its .pub file, comment or
    /// fingerprint
    #[arg(long, value_name = "KEY", conflicts_with_all = ["server", "passphrase", "passphrase_fd"])]
    pub(crate) agent: Option<String>,
    /// Lock the key with a passphrase, asked at the terminal
    #[arg(long)]
    pub(crate) passphrase: bool,
    /// Lock the key with the passphrase in the first line of this file descriptor
    #[arg(long, value_name = "N", conflicts_with = "passphrase")]
    pub(crate) passphrase_fd: Option<u32>,
}

/// Set, change or remove a passphrase.
#[derive(Args)]
#[command(after_help = "Example:\n  spa passwd")]
pub(crate) struct Passwd {
    /// Key file [default: identity in the configuration folder]
    pub(crate) file: Option<PathBuf>,
    /// Remove the passphrase: whoever copies the file then has the key
    #[arg(long)]
    pub(crate) remove: bool,
    /// Read the old passphrase from this file descriptor instead of the terminal
    #[arg(long, value_name = "N")]
    pub(crate) passphrase_fd: Option<u32>,
    /// Read the new passphrase from this file descriptor instead of the terminal
    #[arg(long, value_name = "N", conflicts_with = "remove")]
    pub(crate) new_passphrase_fd: Option<u32>,
}

/// Have a passphrase remembered.
#[derive(Args)]
#[command(after_help = "Example:\n  spa unlock --for 8h")]
pub(crate) struct Unlock {
    /// Key file [default: identity in the configuration folder]
    pub(crate) file: Option<PathBuf>,
    /// For how long, as 30m or 8h; a day at most
    #[arg(long = "for", value_name = "TIME", default_value = "1h")]
    #[arg(value_parser = parse_unlock_time)]
    pub(crate) time: Duration,
    /// Read the passphrase from this file descriptor instead of the terminal
    #[arg(long, value_name = "N")]
    pub(crate) passphrase_fd: Option<u32>,
}

/// Look for what is wrong.
#[derive(Args)]
#[command(after_help = "Example:\n  spa check --json")]
pub(crate) struct CheckArgs {
    /// One JSON object on standard output instead of sentences
    #[arg(long)]
    pub(crate) json: bool,
}

/// Servers where this client is enrolled
#[derive(Subcommand)]
pub(crate) enum Host {
    /// Take the line that `spa-server client add` printed
    Add(HostAdd),
    /// List the hosts
    #[command(after_help = "Example:\n  spa host list")]
    List,
    /// Forget a host
    #[command(after_help = "Example:\n  spa host remove gate.example.org")]
    Remove {
        /// Name of the host, as `spa host list` shows it
        name: String,
    },
}

/// Take an enrolment line.
#[derive(Args)]
#[command(after_help = "Example:\n  spa host add -")]
pub(crate) struct HostAdd {
    /// The line SPA-HOST-1…, or - to read it from standard input, where no other user can see it
    pub(crate) line: String,
    /// Name for the host [default: the first host in the line]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Knock at this address or name instead of those in the line; may be given more than once
    #[arg(long = "address", value_name = "ADDR")]
    pub(crate) addresses: Vec<String>,
    /// The key file that the line was made for [default: identity in the configuration folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    /// Replace a host of the same name
    #[arg(long)]
    pub(crate) replace: bool,
}

/// Read fwknopd.conf, access.conf, .fwknoprc or knockd.conf and write what is the same here; the
/// rest is told line by line.
#[derive(Args)]
#[command(after_help = "Example:\n  spa import knockd /etc/knockd.conf")]
pub(crate) struct Import {
    /// Whose files they are
    #[arg(value_enum)]
    pub(crate) from: PeerArg,
    /// The files; those of one server together
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Folder for spa-server.toml and config.toml, never over existing files [default: standard
    /// output]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}

/// Program whose configuration is imported.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum PeerArg {
    /// fwknopd.conf, access.conf, .fwknoprc
    Fwknop,
    /// knockd.conf
    Knockd,
}

/// Reads how long `spa unlock` lasts: a second to a day.
fn parse_unlock_time(text: &str) -> Result<Duration, DurationError> {
    duration::parse_within(text, Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60))
}
