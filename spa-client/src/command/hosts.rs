//! `spa-client host`: hosts and their settings, without an editor.

use std::collections::BTreeMap;

use serde::Serialize;
use spa_keys::hosts::{self, NewHost};
use spa_keys::{ConfigEdit, Failure, HostLine, Service, Setting, exit, printable};

use super::read_line;
use crate::cli::{AddArgs, FolderOption, HostCommand, SetArgs};
use crate::host::Config;
use crate::output;

/// Version of the JSON object.
const JSON_VERSION: u8 = 1;

/// Runs `spa-client host`; returns the exit code.
pub(crate) fn run_hosts(args: &HostCommand) -> Result<u8, Failure> {
    match args {
        HostCommand::Add(args) => add_host(args)?,
        HostCommand::Remove { name, folder } => hosts::remove(&folder.find_folder()?, name)?,
        HostCommand::Set(args) => set_setting(args)?,
        HostCommand::List { json, folder } => list_hosts(*json, folder)?,
    }
    Ok(exit::OK)
}

fn add_host(args: &AddArgs) -> Result<(), Failure> {
    let line = read_line(&args.file, "SPA-HOST-1… that the server", None, |line| {
        Ok(HostLine::from_text(line)?)
    })?;
    let new = NewHost {
        line: &line,
        name: args.name.as_deref(),
        addresses: &args.addresses,
        identity: args.identity.as_deref(),
        replace: args.replace,
    };
    let name = hosts::add(&args.folder.find_folder()?, &new)?;
    line.services.iter().try_for_each(|service| {
        output::print_text(&format!("spa-client open {}@{name}\n", printable(&service.name)))
    })
}

/// Changes a setting, and keeps the comments of the file.
fn set_setting(args: &SetArgs) -> Result<(), Failure> {
    let folder = args.folder.find_folder()?;
    // A setting for a host that is not there would be a mistyped name.
    folder.read_host(&args.name)?;
    let key = args.key.toml_name();
    let value = match args.values.as_slice() {
        [] => Setting::None,
        several if args.key.takes_several() => Setting::Several(several),
        [one] => Setting::One(one),
        _ => return Err(Failure::usage(format!("{key} takes one value"))),
    };
    let edit = ConfigEdit::open(&folder)?.put(&args.name, &key, value)?;
    // What we could not read again is not written.
    Config::parse_config(&edit.text()).map_err(|failure| {
        failure
            .with_code(exit::USAGE)
            .map_problem(|problem| format!("{key} of {} is unchanged: {problem}", args.name))
    })?;
    edit.save()
}

#[derive(Serialize)]
struct HostListReport {
    version: u8,
    hosts: Vec<HostReport>,
}

#[derive(Serialize)]
struct HostReport {
    name: String,
    /// Our name at the server.
    client: String,
    /// Host names and addresses of the line.
    hosts: Vec<String>,
    /// `ssh` to `tcp/22`.
    services: BTreeMap<String, String>,
}

fn list_hosts(json: bool, folder: &FolderOption) -> Result<(), Failure> {
    let (found, failure) = hosts::list(&folder.find_folder()?, "spa-client")?;
    if json {
        let hosts = found.iter().map(|(name, line)| host_report(name, line)).collect();
        output::print_json(&HostListReport { version: JSON_VERSION, hosts })?;
    } else {
        found.iter().try_for_each(|(name, line)| {
            output::print_text(&(hosts::describe(name, line) + "\n"))
        })?;
    }
    failure.map_or(Ok(()), Err)
}

fn host_report(name: &str, line: &HostLine) -> HostReport {
    let service =
        |service: &Service| (service.name.clone(), format!("{}/{}", service.proto, service.port));
    HostReport {
        name: name.to_owned(),
        client: line.name.clone(),
        hosts: line.hosts.clone(),
        services: line.services.iter().map(service).collect(),
    }
}
