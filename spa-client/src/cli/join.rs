//! Arguments of `spa-client join`.

use std::path::PathBuf;

use clap::Args;

use super::KnockOptions;

/// Take an invitation.
#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 enrolled, 1 denied or failed, 2 usage, 3 no answer, 4 nothing was \
        sent, 77 permission, 78 a configuration or key file is wrong. It can be run again at any \
        time: the same key takes the same invitation"
)]
pub(crate) struct JoinArgs {
    /// The line SPA-INVITATION-1…, a file with it, or - for standard input
    #[arg(default_value = "-", value_name = "LINE")]
    pub(crate) file: PathBuf,
    /// Name for the host [default: the first host in the line]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Knock at this address or name instead of those in the line; may be given more than once
    #[arg(long = "address", value_name = "ADDR")]
    pub(crate) addresses: Vec<String>,
    /// Key file; made if it is not there [default: identity in the configuration folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Leave the signing half to an Ed25519 key in your ssh-agent: its .pub file, comment or
    /// fingerprint
    #[arg(long, value_name = "KEY", conflicts_with_all = ["passphrase", "passphrase_fd"])]
    pub(crate) agent: Option<String>,
    /// Lock a new key with a passphrase, asked at the terminal; with --passphrase-fd it is locked
    /// with that
    #[arg(long, conflicts_with = "passphrase_fd")]
    pub(crate) passphrase: bool,
    /// Take the place of a host of the same name
    #[arg(long)]
    pub(crate) replace: bool,
    /// One JSON object on standard output instead of lines
    #[arg(long)]
    pub(crate) json: bool,
    /// Options of all commands that knock.
    #[command(flatten)]
    pub(crate) options: KnockOptions,
}
