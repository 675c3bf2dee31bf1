//! Which enrolment a name on the command line means: our own names first, then what ssh makes of
//! it.

use spa_keys::{Folder, FolderError, HostLine};

use crate::host::settings::{Config, Family};
use crate::host::ssh;
use spa_keys::Failure;

/// An enrolment that was found.
pub(crate) struct Found {
    /// Its name in the folder.
    pub(crate) host: String,
    pub(crate) line: HostLine,
    /// The host name that ssh makes of the name, when only ssh knew it.
    pub(crate) by_ssh: Option<String>,
    /// The family that ssh would use.
    pub(crate) family: Family,
}

/// Finds the enrolment of a name or address.
pub(crate) fn find(folder: &Folder, config: &Config, name: &str) -> Result<Found, Failure> {
    let unknown = match own(folder, config, name) {
        Ok((host, line)) => return Ok(Found { host, line, by_ssh: None, family: Family::Auto }),
        Err(error @ (FolderError::NoHost(_) | FolderError::Name(_))) => error,
        Err(error) => return Err(error.into()),
    };
    if matches!(unknown, FolderError::Name(_)) {
        return Err(unknown.into());
    }
    let Some(resolved) = ssh::resolve(name).filter(|resolved| resolved.host != name) else {
        return Err(unknown.into());
    };
    match own(folder, config, &resolved.host) {
        Ok((host, line)) => {
            Ok(Found { host, line, by_ssh: Some(resolved.host), family: resolved.family })
        }
        // The name that the user has typed is the one to complain about.
        Err(FolderError::NoHost(_) | FolderError::Name(_)) => Err(unknown.into()),
        Err(error) => Err(error.into()),
    }
}

/// By its name, by an alias or address in the settings, by a host name or address in its line: in
/// this order.
fn own(folder: &Folder, config: &Config, name: &str) -> Result<(String, HostLine), FolderError> {
    let unknown = match folder.read_host(name) {
        Ok(line) => return Ok((name.to_owned(), line)),
        Err(error @ (FolderError::NoHost(_) | FolderError::Name(_))) => error,
        Err(error) => return Err(error),
    };
    if let Some(host) = config.host_at(name) {
        return Ok((host.to_owned(), folder.read_host(host)?));
    }
    let enrolled = folder.host_names()?.into_iter().find_map(|host| {
        let line = folder.read_host(&host).ok()?;
        line.hosts.iter().any(|one| one.eq_ignore_ascii_case(name)).then_some((host, line))
    });
    enrolled.ok_or(unknown)
}
