//! `spa-client hosts`: hosts and their settings, without an editor.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use spa_keys::file;
use spa_keys::hosts::{self, NewHost};
use spa_keys::{ConfigEdit, Failure, HostLine, Service, Setting, exit, printable};

use crate::host::settings::Config;
use crate::output;
use crate::plan;

/// Version of the JSON object.
const JSON_VERSION: u8 = 1;

/// Hosts where this client is enrolled, and their settings.
#[derive(Subcommand)]
pub(crate) enum Hosts {
    /// Take the line that `spa-server client add` printed, from standard input or a file
    Add(Add),
    /// Forget a host and its settings
    Remove {
        /// Its name
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// Set one setting of a host; without a value, take it back
    Set(Set),
    /// List the hosts
    List {
        /// One JSON object on standard output instead of lines
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
}

/// Where the files are.
#[derive(Args)]
pub(crate) struct Place {
    /// Folder with identity, hosts and config.toml [default: ~/.config/spa]
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
}

/// Take an enrolment line. It is a secret, so it is no argument, which other users of the machine
/// could see.
#[derive(Args)]
pub(crate) struct Add {
    /// File with the line, or - for standard input
    #[arg(default_value = "-")]
    file: PathBuf,
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
    #[command(flatten)]
    place: Place,
}

/// Set one setting of a host; without a value, take it back.
#[derive(Args)]
pub(crate) struct Set {
    /// The host's name
    name: String,
    /// The setting
    key: Key,
    /// Its value, or values
    values: Vec<String>,
    #[command(flatten)]
    place: Place,
}

/// A setting of a host.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Key {
    /// Addresses or names to knock at, instead of those in the line
    Addresses,
    /// More names for the host
    Aliases,
    /// Key file
    Identity,
    /// Whether the knock works from our own address only: auto, always, never
    BindSrc,
    /// auto, 4 or 6
    Family,
    /// Addresses or networks under which the server sees us
    ExpectAddress,
}

impl Key {
    fn name(self) -> &'static str {
        match self {
            Self::Addresses => "addresses",
            Self::Aliases => "aliases",
            Self::Identity => "identity",
            Self::BindSrc => "bind-src",
            Self::Family => "family",
            Self::ExpectAddress => "expect-address",
        }
    }

    fn takes_several(self) -> bool {
        matches!(self, Self::Addresses | Self::Aliases | Self::ExpectAddress)
    }
}

/// Runs it; the exit code.
pub(crate) fn run(args: &Hosts) -> Result<u8, Failure> {
    match args {
        Hosts::Add(args) => add(args)?,
        Hosts::Remove { name, place } => {
            hosts::remove(&plan::folder(place.config.as_deref())?, name)?
        }
        Hosts::Set(args) => set(args)?,
        Hosts::List { json, place } => list(*json, place)?,
    }
    Ok(exit::OK)
}

fn add(args: &Add) -> Result<(), Failure> {
    let text = if args.file.as_os_str() == "-" {
        spa_keys::pasted()?
    } else {
        file::read_secret(&args.file)?
    };
    let line = match spa_keys::key_file::only_line(text.expose()) {
        Ok((_, line)) => HostLine::from_text(line)?,
        Err(count) => {
            let message = format!(
                "{count} lines, one is needed: paste the line SPA-HOST-1… that the server printed"
            );
            return Err(Failure::failed(message));
        }
    };
    let new = NewHost {
        line: &line,
        name: args.name.as_deref(),
        addresses: &args.addresses,
        identity: args.identity.as_deref(),
        replace: args.replace,
    };
    let name = hosts::add(&plan::folder(args.place.config.as_deref())?, &new)?;
    line.services.iter().try_for_each(|service| {
        output::text(&format!("spa-client open {}@{name}\n", printable(&service.name)))
    })
}

fn set(args: &Set) -> Result<(), Failure> {
    let folder = plan::folder(args.place.config.as_deref())?;
    // A setting for a host that is not there would be a mistyped name.
    folder.read_host(&args.name)?;
    let key = args.key.name();
    let value = match args.values.as_slice() {
        [] => Setting::None,
        several if args.key.takes_several() => Setting::Several(several),
        [one] => Setting::One(one),
        _ => return Err(Failure::new(exit::USAGE, format!("{key} takes one value"))),
    };
    let edit = ConfigEdit::open(&folder)?.put(&args.name, key, value)?;
    // What we could not read again is not written.
    Config::parse(&edit.text()).map_err(|error| {
        Failure::new(exit::USAGE, format!("{key} of {} stays as it was: {error}", args.name))
    })?;
    edit.save()
}

#[derive(Serialize)]
struct Listing {
    version: u8,
    hosts: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    /// Our name at the server.
    client: String,
    /// Host names and addresses of the line.
    hosts: Vec<String>,
    /// `ssh` to `tcp/22`.
    services: BTreeMap<String, String>,
}

fn list(json: bool, place: &Place) -> Result<(), Failure> {
    let (found, failure) = hosts::list(&plan::folder(place.config.as_deref())?, "spa-client")?;
    if json {
        let hosts = found.iter().map(|(name, line)| listed(name, line)).collect();
        output::json(&Listing { version: JSON_VERSION, hosts })?;
    } else {
        found
            .iter()
            .try_for_each(|(name, line)| output::text(&(hosts::describe(name, line) + "\n")))?;
    }
    failure.map_or(Ok(()), Err)
}

fn listed(name: &str, line: &HostLine) -> Listed {
    let service =
        |service: &Service| (service.name.clone(), format!("{}/{}", service.proto, service.port));
    Listed {
        name: name.to_owned(),
        client: line.name.clone(),
        hosts: line.hosts.clone(),
        services: line.services.iter().map(service).collect(),
    }
}
