//! Check that what the server makes at its start can be made where the configuration says: what
//! fails at the next boot is told by `check`, `reload` and `try` as well.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use spa_keys::Severity;

use super::paths::broker_folder;
use super::{Config, Findings};
use crate::log::{Format, JOURNAL_SOCKET};

/// Longest name in a folder, bytes (`NAME_MAX` of linux/limits.h).
const LONGEST_NAME: usize = 255;

/// Finds what is wrong with the places of a configuration, read from `path`. Looks at the disk.
pub(crate) fn check_places(path: &Path, config: &Config) -> Findings {
    let mut findings = Findings::default();
    let broker = broker_folder(&config.server.state);
    let mut places = vec![
        ("[server] control", find_socket_fault(&config.server.control)),
        ("[server] state", find_folder_fault(&config.server.state)),
        ("the broker's folder, by [server] state,", find_folder_fault(&broker)),
    ];
    if config.log.format == Format::Journald && !Path::new(JOURNAL_SOCKET).exists() {
        let text =
            format!("{JOURNAL_SOCKET} is not there: start systemd-journald, or write logfmt");
        places.push(("[log] format", Some(text)));
    }
    for (key, fault) in places {
        if let Some(fault) = fault {
            let text = format!("{key}: {fault}");
            findings.append(Findings::of_file(&path.display().to_string(), Severity::Error, text));
        }
    }
    findings
}

/// Reason why no socket can be bound here.
fn find_socket_fault(path: &Path) -> Option<String> {
    let at = path.display();
    if path.as_os_str().as_bytes().ends_with(b"/") {
        return Some(format!("{at} names a folder: name a socket in it, {at}control.sock"));
    }
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => None,
        Ok(meta) if meta.is_dir() => {
            Some(format!("{at} is a folder: name a socket in it, {at}/control.sock"))
        }
        Ok(_) => Some(format!("{at} is there and is no socket: remove it, or name another")),
        Err(_) => find_parent_fault(path),
    }
}

/// Reason why no folder of ours can be here.
fn find_folder_fault(path: &Path) -> Option<String> {
    let at = path.display();
    match fs::metadata(path) {
        Ok(meta) if !meta.is_dir() => {
            Some(format!("{at} is there and is no folder: remove it, or name another"))
        }
        Ok(meta) if meta.mode() & 0o022 != 0 => {
            Some(format!("{at} can be written by its group or by everybody: chmod go-w {at}"))
        }
        Ok(_) => None,
        Err(_) if path.symlink_metadata().is_ok() => {
            Some(format!("{at} is a link that leads nowhere: remove it, or make what it names"))
        }
        Err(_) => find_parent_fault(path),
    }
}

/// Reason why nothing can be made under this name: folders above it are made as well.
fn find_parent_fault(path: &Path) -> Option<String> {
    if path.iter().any(|name| name.len() > LONGEST_NAME) {
        return Some(format!("a name in it is longer than {LONGEST_NAME} bytes: shorten it"));
    }
    let above = path.ancestors().skip(1).find(|above| above.symlink_metadata().is_ok())?;
    if above.is_dir() {
        return None;
    }
    let (at, above) = (path.display(), above.display());
    Some(format!("{at} cannot be made: {above} is no folder; remove that, or name another"))
}
