//! The commands of `spa`, one file each.

mod check;
mod completions;
mod host_add;
mod host_list;
mod host_remove;
mod import;
mod inspect;
mod keygen;
mod output;
mod passwd;
mod program;
mod pubkey;
mod source;
mod unlock;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub(crate) use spa_keys::Failure;
use spa_keys::duration::{self, DurationError};

/// Keys and enrolment for SPA.
#[derive(Parser)]
#[command(name = "spa", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a key file and print its public key
    Keygen(Keygen),
    /// Print the public key of a key file
    Pubkey {
        /// Key file [default: identity in the configuration folder]
        file: Option<PathBuf>,
    },
    /// Set, change or remove the passphrase of a key file
    Passwd(Passwd),
    /// Have the kernel remember a key file's passphrase for a while
    Unlock(Unlock),
    /// Have it forgotten
    Lock {
        /// Key file [default: identity in the configuration folder]
        file: Option<PathBuf>,
    },
    /// Tell what a file or text is; never prints a secret
    Inspect {
        /// A file, a text such as spa1…, or - for standard input [default: your key file]
        what: Option<String>,
    },
    /// Look for what is wrong with keys, hosts and settings, and tell the commands that mend it
    Check(CheckArgs),
    /// Take an invitation: makes a key if there is none, and enrols it by one knock
    Join {
        /// The line SPA-INVITATION-1…, or - to read it from standard input, where no other user
        /// can see it
        line: String,
        /// More, as `spa-client join --help` lists it
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<std::ffi::OsString>,
    },
    /// Change to new keys at a host; the old ones are good until the new ones have been seen
    Rotate {
        /// The host and more, as `spa-client rotate --help` lists it
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<std::ffi::OsString>,
    },
    /// Servers where this client is enrolled
    #[command(subcommand)]
    Host(Host),
    /// Read the configuration of another knocker and write ours
    Import(Import),
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Make a key file.
#[derive(Args)]
struct Keygen {
    /// Where to write it, never over an existing file [default: identity in the configuration
    /// folder]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Make a server's key instead of a client's
    #[arg(long, requires = "output")]
    server: bool,
    /// Leave the signing half to an Ed25519 key in your ssh-agent: its .pub file, comment or
    /// fingerprint
    #[arg(long, value_name = "KEY", conflicts_with_all = ["server", "passphrase", "passphrase_fd"])]
    agent: Option<String>,
    /// Lock the key with a passphrase, asked at the terminal
    #[arg(long)]
    passphrase: bool,
    /// Lock the key with the passphrase in the first line of this file descriptor
    #[arg(long, value_name = "N", conflicts_with = "passphrase")]
    passphrase_fd: Option<u32>,
}

/// Set, change or remove a passphrase.
#[derive(Args)]
struct Passwd {
    /// Key file [default: identity in the configuration folder]
    file: Option<PathBuf>,
    /// Remove the passphrase: whoever copies the file then has the key
    #[arg(long)]
    remove: bool,
    /// Read the old passphrase from this file descriptor instead of the terminal
    #[arg(long, value_name = "N")]
    passphrase_fd: Option<u32>,
    /// Read the new passphrase from this file descriptor instead of the terminal
    #[arg(long, value_name = "N", conflicts_with = "remove")]
    new_passphrase_fd: Option<u32>,
}

/// Have a passphrase remembered.
#[derive(Args)]
struct Unlock {
    /// Key file [default: identity in the configuration folder]
    file: Option<PathBuf>,
    /// For how long, as 30m or 8h; a day at most
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = parse_unlock_time)]
    time: Duration,
    /// Read the passphrase from this file descriptor instead of the terminal
    #[arg(long, value_name = "N")]
    passphrase_fd: Option<u32>,
}

/// Look for what is wrong.
#[derive(Args)]
struct CheckArgs {
    /// One JSON object on standard output instead of sentences
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Host {
    /// Take the line that `spa-server client add` printed
    Add(HostAdd),
    /// List the hosts
    List,
    /// Forget a host
    Remove {
        /// Its name
        name: String,
    },
}

/// Take an enrolment line.
#[derive(Args)]
struct HostAdd {
    /// The line SPA-HOST-1…, or - to read it from standard input, where no other user can see it
    line: String,
    /// What to call the host [default: the first host in the line]
    #[arg(long)]
    name: Option<String>,
    /// Knock at this address or name instead of those in the line; may be given more than once
    #[arg(long = "address", value_name = "ADDR")]
    addresses: Vec<String>,
    /// The key file that the line was made for [default: identity in the configuration folder]
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Take the place of a host of the same name
    #[arg(long)]
    replace: bool,
}

/// Read fwknopd.conf, access.conf, .fwknoprc or knockd.conf and write what is the same here; the
/// rest is told line by line.
#[derive(Args)]
struct Import {
    /// Whose files they are
    #[arg(value_enum)]
    from: PeerArg,
    /// The files; those of one server together
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Folder for spa-server.toml and config.toml, never over existing files [default: standard
    /// output]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum PeerArg {
    /// fwknopd.conf, access.conf, .fwknoprc
    Fwknop,
    /// knockd.conf
    Knockd,
}

/// The key file that is meant; the user's own when none is named.
///
/// # Errors
/// When there is none of the user's own, with the way to one.
fn key_file(named: Option<&std::path::Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let path = spa_keys::Folder::of_user()?.identity();
    if path.symlink_metadata().is_ok() {
        return Ok(path);
    }
    Err(Failure::failed(format!(
        "you have no key yet ({} does not exist); make one: spa keygen, or take an invitation: spa \
         join -",
        path.display()
    )))
}

/// Reads how long `spa unlock` lasts: a second to a day.
fn parse_unlock_time(text: &str) -> Result<Duration, DurationError> {
    duration::parse_within(text, Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60))
}

impl Cli {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        match &self.command {
            Command::Keygen(args) => keygen::run(args),
            Command::Passwd(args) => passwd::run(args),
            Command::Unlock(args) => unlock::run(args),
            Command::Lock { file } => unlock::run_lock(file.as_deref()),
            Command::Pubkey { file } => pubkey::run(file.as_deref()),
            Command::Check(args) => check::run(args),
            Command::Inspect { what } => inspect::run(what.as_deref()),
            Command::Join { line, rest } => program::run_join(line, rest),
            Command::Rotate { rest } => program::run_rotate(rest),
            Command::Host(Host::Add(args)) => host_add::run(args),
            Command::Host(Host::List) => host_list::run(),
            Command::Host(Host::Remove { name }) => host_remove::run(name),
            Command::Import(args) => import::run(args),
            Command::Completions { shell } => completions::run(*shell),
        }
    }
}
