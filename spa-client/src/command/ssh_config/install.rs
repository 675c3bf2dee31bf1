//! Installation into ~/.ssh/config: one line at its top includes a file of ours. ssh takes the
//! first value that it finds, so nothing can take a host away from us, and our file can be written
//! anew without touching the user's.

use std::path::{Path, PathBuf};

use spa_keys::file::{self, FileError};
use spa_keys::{Failure, Folder, FolderError, HostLine, ServiceProto, Severity};

use super::is_word;
use crate::host::{proxy_command_of, ssh_config_file};

/// Name of our file in the client's folder.
const FILE_NAME: &str = "ssh_config";
/// Largest ~/.ssh/config, in bytes.
const MAX_CONFIG_BYTES: u64 = 4 * 1024 * 1024;
/// Comment in front of our line.
const MARK: &str = "# Hosts behind spa; kept at the top by: spa-client ssh-config --install";
/// Words of a ProxyCommand of ours.
const CONNECT: &str = "spa-client";

/// Writes the blocks to our file, and includes it at the top of ~/.ssh/config.
pub(super) fn install_blocks(folder: &Folder, blocks: &str) -> Result<(), Failure> {
    let own = std::path::absolute(folder.path())?.join(FILE_NAME);
    let config = ssh_config_file().ok_or(FolderError::NoHome)?;
    let line = include_line(&own)?;
    let present = match file::read_public(&config, MAX_CONFIG_BYTES) {
        Err(FileError::Missing(_)) => String::new(),
        other => other?,
    };
    // The blocks first: an include of nothing is no error to ssh.
    file::private_folder(folder.path())?;
    let head = "# Written by `spa-client ssh-config --install`, which overwrites it.\n";
    file::replace(&own, &format!("{head}{blocks}"))?;
    let rest: String = present
        .split_inclusive('\n')
        .filter(|one| ![MARK, line.as_str()].contains(&one.trim_end()))
        .collect();
    let wanted = format!("{MARK}\n{line}\n{rest}");
    if wanted != present {
        if let Some(parent) = config.parent() {
            file::private_folder(parent)?;
        }
        // People keep their settings elsewhere and link to them.
        let target = std::fs::canonicalize(&config).unwrap_or_else(|_| config.clone());
        file::replace(&target, &wanted)?;
    }
    spa_keys::note!("{} includes {}", config.display(), own.display());
    for host in folder.host_names()? {
        let Ok(host_line) = folder.read_host(&host) else { continue };
        if let Some((Severity::Warning, text)) = check_installed(&host, &host_line) {
            spa_keys::note!("spa-client: warning: {text}");
        }
    }
    Ok(())
}

/// Makes the line that includes our file.
fn include_line(own: &Path) -> Result<String, Failure> {
    let path = own.to_str().filter(|path| !path.contains(['"', '\n', '*', '?', '[', '%']));
    let path = path.ok_or_else(|| {
        Failure::config(format!("{} cannot be named in ssh_config", own.display()))
    })?;
    Ok(format!("Include \"{path}\""))
}

/// Compares what ssh does for a host with what makes it knock; nothing when there is no ssh, or no
/// service for it.
pub(in crate::command) fn check_installed(
    host: &str,
    line: &HostLine,
) -> Option<(Severity, String)> {
    let has_ssh =
        |name: &str| line.service(name).is_some_and(|service| service.proto == ServiceProto::Tcp);
    if !has_ssh("ssh") || !is_word(host) {
        return None;
    }
    let remedy = "spa-client ssh-config --install";
    let Some(command) = proxy_command_of(host)? else {
        let text = format!("ssh {host} does not knock by itself; it does after: {remedy}");
        return Some((Severity::Hint, text));
    };
    let program = command.split(' ').next().unwrap_or_default().trim_matches('\'');
    if !command.contains(CONNECT) {
        let text = format!(
            "ssh {host} does not knock: another ProxyCommand stands above ours in ssh_config \
             (`{}`); ours comes first after: {remedy}",
            spa_keys::printable(&command)
        );
        return Some((Severity::Warning, text));
    }
    let gone = program.starts_with('/') && !PathBuf::from(program).exists();
    if gone || !program.starts_with('/') {
        let why = if gone { "which is not there" } else { "which is found by PATH alone" };
        let severity = if gone { Severity::Warning } else { Severity::Hint };
        let text =
            format!("ssh {host} knocks by {program}, {why}; its path is written by: {remedy}");
        return Some((severity, text));
    }
    Some((Severity::Ok, format!("ssh {host} knocks by itself")))
}
