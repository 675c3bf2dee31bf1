//! Arguments of `spa-client host`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::FolderOption;

/// Hosts where this client is enrolled, and their settings.
#[derive(Subcommand)]
pub(crate) enum HostCommand {
    /// Take the line that `spa-server client add` printed, from standard input or a file
    Add(AddArgs),
    /// Forget a host and its settings
    Remove {
        /// Name of the host
        name: String,
        /// Folder of the client's files.
        #[command(flatten)]
        folder: FolderOption,
    },
    /// Set one setting of a host; without a value, take it back
    Set(SetArgs),
    /// List the hosts
    List {
        /// One JSON object on standard output instead of lines
        #[arg(long)]
        json: bool,
        /// Folder of the client's files.
        #[command(flatten)]
        folder: FolderOption,
    },
}

/// Take an enrolment line. It is a secret, so it is no argument, which other users of the machine
/// could see.
#[derive(Args)]
pub(crate) struct AddArgs {
    /// File with the line, or - for standard input
    #[arg(default_value = "-")]
    pub(crate) file: PathBuf,
    /// Name for the host [default: the first host in the line]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Knock at this address or name instead of those in the line; may be given more than once
    #[arg(long = "address", value_name = "ADDR")]
    pub(crate) addresses: Vec<String>,
    /// The key file that the line was made for [default: identity in the configuration folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    /// Take the place of a host of the same name
    #[arg(long)]
    pub(crate) replace: bool,
    /// Folder of the client's files.
    #[command(flatten)]
    pub(crate) folder: FolderOption,
}

/// Set one setting of a host; without a value, take it back.
#[derive(Args)]
pub(crate) struct SetArgs {
    /// The host's name
    pub(crate) name: String,
    /// The setting
    pub(crate) key: SettingName,
    /// Value of the setting, or values
    pub(crate) values: Vec<String>,
    /// Folder of the client's files.
    #[command(flatten)]
    pub(crate) folder: FolderOption,
}

/// A setting of a host.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum SettingName {
    /// Addresses or names to knock at, instead of those in the line
    Addresses,
    /// More names for the host
    Aliases,
    /// Key file
    Identity,
    /// Bind the knock to our own address: auto, always, never
    BindSrc,
    /// auto, 4 or 6
    Family,
    /// Addresses or networks under which the server sees us
    ExpectAddress,
}

impl SettingName {
    /// Returns the name that the setting has in `config.toml`, which is that of the argument.
    pub(crate) fn toml_name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Returns true for a setting that is a list.
    pub(crate) fn takes_several(self) -> bool {
        matches!(self, Self::Addresses | Self::Aliases | Self::ExpectAddress)
    }
}
