//! `spa host add`

use std::path::{Path, PathBuf};

use spa_keys::file::FileError;
use spa_keys::key_file::{self, KeyFileError};
use spa_keys::{Fingerprint, Folder, FolderError, HostLine, check_host_name, exit, printable};
use spa_proto::ClientSecret;

use crate::command::config_edit::{ConfigEdit, HostEntry};
use crate::command::{Failure, HostAdd, output, source};

pub(crate) fn run(args: &HostAdd) -> Result<(), Failure> {
    let text = source::argument(&args.line, "spa host add - (and paste it)")?;
    let line = HostLine::from_text(text.expose())?;
    let folder = Folder::of_user()?;
    let name =
        args.name.as_ref().or(line.hosts.first()).ok_or_else(|| {
            Failure::new(exit::USAGE, "the line names no host: add --name NAME --address ADDR")
        })?;
    check_host_name(name)?;
    if line.hosts.is_empty() && args.addresses.is_empty() {
        return Err(Failure::new(exit::USAGE, "the line names no host: add --address ADDR"));
    }
    let identity = args.identity.as_deref().map(absolute).transpose()?;
    check_key(&line, &identity.clone().unwrap_or_else(|| folder.identity()))?;

    // The settings are read first: a file that cannot be read must not leave half an enrolment.
    let entry = HostEntry { addresses: &args.addresses, identity: identity.as_deref() };
    let settings = ConfigEdit::open(&folder)?.set(name, &entry)?;
    let path = match folder.write_host(name, &line, args.replace) {
        Err(FolderError::File(FileError::Exists(_))) => {
            return Err(Failure::new(
                exit::FAILURE,
                format!("{name} is enrolled already; to take this line instead, add --replace"),
            ));
        }
        other => other?,
    };
    settings.save()?;

    spa_keys::note!("enrolled as {} at {name}: {}", printable(&line.name), path.display());
    spa_keys::note!("server's fingerprint: {}", Fingerprint::from(&line.server));
    line.services
        .iter()
        .try_for_each(|service| output::line(&format!("spa-client open {}@{name}", service.name)))
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::new(exit::FAILURE, format!("{}: {error}", path.display())))
}

/// The line names the key it was made for, so that a wrong one is found now and not as silence later.
fn check_key(line: &HostLine, identity: &Path) -> Result<(), Failure> {
    let key = match key_file::read_public_half::<ClientSecret>(identity) {
        Err(KeyFileError::File(FileError::Missing(path))) => {
            let message = format!(
                "there is no key at {}; name yours with --identity FILE, or make one with `spa keygen` and have it enrolled",
                path.display()
            );
            return Err(Failure::new(exit::FAILURE, message));
        }
        other => other?,
    };
    if line.is_for(&key) {
        return Ok(());
    }
    let message = format!(
        "the line was made for another key than {} ({}); name the right one with --identity FILE, or have this one enrolled: spa pubkey {}",
        identity.display(),
        Fingerprint::from(&key),
        identity.display()
    );
    Err(Failure::new(exit::FAILURE, message))
}
