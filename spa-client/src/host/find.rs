//! Search for the enrolment that a name on the command line means: our own names first, then what
//! ssh makes of it.

use spa_keys::{Failure, Folder, FolderError, HostLine};

use super::settings::Config;
use super::ssh::resolve_by_ssh;
use crate::address::Family;

/// An enrolment that was found.
pub(crate) struct FoundHost {
    /// Name in the folder.
    pub(crate) host: String,
    /// Enrolment line.
    pub(crate) line: HostLine,
    /// The host name that ssh makes of the name, when only ssh knew it.
    pub(crate) ssh_host_name: Option<String>,
    /// The family that ssh would use.
    pub(crate) family: Family,
}

/// Finds the enrolment of a name or address.
pub(crate) fn find_host(
    folder: &Folder,
    config: &Config,
    name: &str,
) -> Result<FoundHost, Failure> {
    let unknown = match find_own_host(folder, config, name) {
        Ok((host, line)) => {
            return Ok(FoundHost { host, line, ssh_host_name: None, family: Family::Auto });
        }
        Err(error @ FolderError::NoHost(_)) => error,
        Err(error) => return Err(error.into()),
    };
    let Some(resolved) = resolve_by_ssh(name).filter(|resolved| resolved.host != name) else {
        return Err(unknown.into());
    };
    match find_own_host(folder, config, &resolved.host) {
        Ok((host, line)) => Ok(FoundHost {
            host,
            line,
            ssh_host_name: Some(resolved.host),
            family: resolved.family,
        }),
        // The name that the user has typed is the one to complain about.
        Err(FolderError::NoHost(_) | FolderError::Name(_)) => Err(unknown.into()),
        Err(error) => Err(error.into()),
    }
}

/// Finds an enrolment by its name, by an alias or address in the settings, by a host name or
/// address in its line: in this order.
fn find_own_host(
    folder: &Folder,
    config: &Config,
    name: &str,
) -> Result<(String, HostLine), FolderError> {
    let unknown = match folder.read_host(name) {
        Ok(line) => return Ok((name.to_owned(), line)),
        Err(error @ (FolderError::NoHost(_) | FolderError::Name(_))) => error,
        Err(error) => return Err(error),
    };
    if let Some(host) = config.find_host_at(name) {
        return Ok((host.to_owned(), folder.read_host(host)?));
    }
    let claims = |host: String| {
        let line = folder.read_host(&host).ok()?;
        line.hosts.iter().any(|one| one.eq_ignore_ascii_case(name)).then_some((host, line))
    };
    let mut claimed: Vec<_> = folder.host_names()?.into_iter().filter_map(claims).collect();
    // Each server chooses the names in its own line: one must not answer for another.
    if claimed.len() > 1 {
        let hosts = claimed.into_iter().map(|(host, _)| host).collect();
        return Err(FolderError::Ambiguous { name: name.to_owned(), hosts });
    }
    claimed.pop().ok_or(unknown)
}
