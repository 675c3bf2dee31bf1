//! Hosts of the client's folder: taking an enrolment line, listing, forgetting. The same for `spa
//! host` and `spa-client host`.

use std::path::{Path, PathBuf};

use spa_proto::ClientSecret;

use crate::edit::config_edit::{ConfigEdit, HostEntry};
use crate::file::{self, FileError};
use crate::key::key_file::{self, KeyFileError};
use crate::store::settings::check_settings;
use crate::{
    Failure, Fingerprint, Folder, FolderError, HostLine, check_host_name, exit, printable,
};

/// An enrolment to be taken.
#[derive(Clone, Copy, Debug)]
pub struct NewHost<'a> {
    /// The line.
    pub line: &'a HostLine,
    /// Name for the host; else the first host in the line.
    pub name: Option<&'a str>,
    /// Addresses to knock at instead of those in the line.
    pub addresses: &'a [String],
    /// The key that the line was made for, when it is not the folder's own.
    pub identity: Option<&'a Path>,
    /// Replace a host of the same name.
    pub replace: bool,
}

/// Takes an enrolment, says so, and returns the host's name.
///
/// # Errors
/// When the line names no host or another key, the host is there already, or the system says no.
pub fn add(folder: &Folder, new: &NewHost<'_>) -> Result<String, Failure> {
    let line = new.line;
    let name = new
        .name
        .or(line.hosts.first().map(String::as_str))
        .ok_or_else(|| Failure::usage("the line names no host: add --name NAME --address ADDR"))?;
    check_host_name(name)?;
    if line.hosts.is_empty() && new.addresses.is_empty() {
        return Err(Failure::usage("the line names no host: add --address ADDR"));
    }
    check_settings(new.addresses, &[], new.identity)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let identity = new.identity.map(make_absolute).transpose()?;
    check_key(line, &identity.clone().unwrap_or_else(|| folder.identity()))?;

    // The settings are read first: a file that cannot be read must not leave half an enrolment.
    let entry = HostEntry { addresses: new.addresses, identity: identity.as_deref() };
    let settings = ConfigEdit::open(folder)?.set(name, &entry)?;
    let exists = || {
        let message =
            format!("{name} is enrolled already; to take this line instead, add --replace");
        Failure::failed(message)
    };
    if !new.replace && folder.host_file(name)?.symlink_metadata().is_ok() {
        return Err(exists());
    }
    // The host's file comes last: once it is there, all is.
    settings.save()?;
    let path = match folder.write_host(name, line, new.replace) {
        Err(FolderError::File(FileError::Exists(_))) => return Err(exists()),
        other => other?,
    };
    crate::note!("enrolled as {} at {name}: {}", printable(&line.name), path.display());
    crate::note!("server's fingerprint: {}", Fingerprint::from(&line.server));
    Ok(name.to_owned())
}

/// Forgets a host and its settings, and says so.
///
/// # Errors
/// When it is not there, or the system says no.
pub fn remove(folder: &Folder, name: &str) -> Result<(), Failure> {
    let settings = ConfigEdit::open(folder)?.remove(name);
    if let Ok(path) = folder.host_file(name) {
        let _may_not_be_there = file::remove(&path.with_extension("seen"));
    }
    match file::remove(&folder.host_file(name)?) {
        // Settings that outlived their host, as `spa check` finds them.
        Err(FileError::Missing(_)) if settings.has_changes() => {
            settings.save()?;
            crate::note!("there was no host {name}, only settings for it: removed");
            Ok(())
        }
        // Not the exit code "nothing was sent": nothing was to be sent.
        Err(FileError::Missing(_)) => {
            Err(Failure::from(folder.unknown_host(name)).with_code(exit::FAILURE))
        }
        Err(error) => Err(error.into()),
        Ok(()) => {
            settings.save()?;
            crate::note!(
                "removed here; the server knows this client until you run there: spa-server \
                client remove"
            );
            Ok(())
        }
    }
}

/// The hosts that can be used, with their names, and a failure when some cannot.
pub type Listed = (Vec<(String, HostLine)>, Option<Failure>);

/// Lists the hosts that can be read, with their names; prints why others cannot, and then fails at
/// the end.
///
/// # Errors
/// When the folder cannot be read; with `program` in front, each host's error is said.
pub fn list(folder: &Folder, program: &str) -> Result<Listed, Failure> {
    let names = folder.host_names()?;
    if names.is_empty() {
        crate::note!("no hosts; add one with the line from its server: spa host add -");
    }
    let mut hosts = Vec::new();
    let mut broken = 0;
    for name in &names {
        match folder.read_host(name) {
            Ok(line) => hosts.push((name.clone(), line)),
            Err(error) => {
                broken += 1;
                crate::note!("{program}: {error}");
            }
        }
    }
    let failure = (broken > 0)
        .then(|| Failure::config(format!("{broken} of {} hosts cannot be used", names.len())));
    Ok((hosts, failure))
}

/// Describes a host in one line: name, client's name, services, separated by tabs for `cut`.
#[must_use]
pub fn describe(name: &str, host: &HostLine) -> String {
    let services: Vec<String> = host.services.iter().map(ToString::to_string).collect();
    format!("{name}\t{}\t{}", printable(&host.name), printable(&services.join(", ")))
}

fn make_absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
}

/// Checks that the line was made for this key: a wrong one is found now and not as silence later.
fn check_key(line: &HostLine, identity: &Path) -> Result<(), Failure> {
    let key = match key_file::read_public_half::<ClientSecret>(identity) {
        Err(KeyFileError::File(FileError::Missing(path))) => {
            let message = format!(
                "there is no key at {}; name yours with --identity FILE, or make one with `spa \
                 keygen` and have it enrolled",
                path.display()
            );
            return Err(Failure::failed(message));
        }
        other => other?,
    };
    if line.is_for(&key) {
        return Ok(());
    }
    let message = format!(
        "the line was made for another key than {} ({}); name the right one with --identity FILE, \
         or have this one enrolled: spa pubkey {}",
        identity.display(),
        Fingerprint::from(&key),
        identity.display()
    );
    Err(Failure::failed(message))
}
