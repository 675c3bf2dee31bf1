//! Arguments of `spa-client rotate`.

use clap::Args;

use super::KnockOptions;

/// Change to new keys at a host.
#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 rotated, 1 denied or failed, 2 usage, 3 no answer, 4 nothing was \
        sent, 77 permission, 78 a configuration or key file is wrong. It can be run again at any \
        time: it goes on where it stood"
)]
pub(crate) struct RotateArgs {
    /// The host [default: the only one]
    pub(crate) host: Option<String>,
    /// Leave the new signing half to an Ed25519 key in your ssh-agent: its .pub file, comment or
    /// fingerprint [default: the present one, if it is in an agent]
    #[arg(long, value_name = "KEY", conflicts_with_all = ["passphrase", "new_passphrase_fd"])]
    pub(crate) agent: Option<String>,
    /// Make the whole new key in a file, although the old one's signing half is in an agent
    #[arg(long, conflicts_with = "agent")]
    pub(crate) no_agent: bool,
    /// Lock the new key with a passphrase, asked at the terminal; so it is when the old one is
    /// locked
    #[arg(long)]
    pub(crate) passphrase: bool,
    /// Lock the new key with the passphrase in the first line of this file descriptor [default:
    /// with that of --passphrase-fd]
    #[arg(long, value_name = "N", conflicts_with = "passphrase")]
    pub(crate) new_passphrase_fd: Option<u32>,
    /// One JSON object on standard output instead of a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Options of all commands that knock.
    #[command(flatten)]
    pub(crate) options: KnockOptions,
}
