//! Configurations of other knockers, read and written as ours: what `spa import` does, without its
//! files.
//!
//! Every directive of a peer's file ends in the result, in a note (nothing is lost: it is so
//! anyway, or the default) or in a warning (it has no equal). Keys are never copied and never
//! shown: a value appears in a remark only when it is none.

mod access;
mod command;
mod draft;
mod fwknopd;
mod fwknoprc;
mod knockd;
mod lines;
mod ports;
mod report;
#[cfg(test)]
mod tests;
mod uci;

use draft::Draft;
use report::Remarks;
pub use report::{ImportError, Imported, Peer, PeerFile, Remark, RemarkWeight, SourceLine};

/// Reads a peer's files, all of one installation, and writes ours.
///
/// # Errors
/// The first line that is no line of such a file.
pub fn import(peer: Peer, inputs: &[PeerFile]) -> Result<Imported, ImportError> {
    let mut remarks = Remarks::default();
    let mut draft = Draft::default();
    let mut client = None;
    for input in inputs {
        if let Some(files) = uci::translate(peer, input)? {
            access::read_file(&files.access, &mut draft, &mut remarks)?;
            fwknopd::read_file(&files.daemon, &mut draft, &mut remarks)?;
            for place in &files.other {
                remarks.lose(place, "only sections `access` and `config` are read: left out");
            }
            continue;
        }
        match (peer, find_role(peer, input)?) {
            (Peer::Knockd, _) => knockd::read_file(input, &mut draft, &mut remarks)?,
            (Peer::Fwknop, FileRole::Daemon) => {
                fwknopd::read_file(input, &mut draft, &mut remarks)?
            }
            (Peer::Fwknop, FileRole::Access) => access::read_file(input, &mut draft, &mut remarks)?,
            (Peer::Fwknop, FileRole::Client) => {
                client
                    .get_or_insert_with(String::new)
                    .push_str(&fwknoprc::read_file(input, &mut remarks)?);
            }
        }
    }
    let hosts = client.as_ref().is_some_and(|text| text.contains("\n[host."));
    let empty = draft.services.is_empty() && !hosts;
    let server = draft.touched.then(|| draft.write_config(peer, inputs, &mut remarks));
    Ok(Imported { server, client, remarks: remarks.0, empty })
}

/// Role of a peer's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileRole {
    Daemon,
    Access,
    Client,
}

/// Finds the role of a file by its name, else by its first telling line.
fn find_role(peer: Peer, input: &PeerFile) -> Result<FileRole, ImportError> {
    let name = input.name.rsplit('/').next().unwrap_or_default();
    if peer == Peer::Knockd || name.contains("fwknopd") {
        return Ok(FileRole::Daemon);
    }
    if name.contains("access") {
        return Ok(FileRole::Access);
    }
    if name.contains("fwknoprc") {
        return Ok(FileRole::Client);
    }
    let telling = |line: &str| {
        let word =
            line.split([' ', '\t', ';', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match word.as_str() {
            "SOURCE" | "%INCLUDE" | "%INCLUDE_FOLDER" => Some(FileRole::Access),
            "SPA_SERVER" | "ALLOW_IP" => Some(FileRole::Client),
            _ if line.starts_with('[') => Some(FileRole::Client),
            _ if fwknopd::is_directive(&word) => Some(FileRole::Daemon),
            _ => None,
        }
    };
    input.text.expose().lines().map(str::trim).find_map(telling).ok_or_else(|| ImportError {
        place: SourceLine { file: input.name.clone(), line: 1 },
        text: "neither fwknopd.conf nor access.conf nor .fwknoprc: no line of it says which; name \
            the file as fwknop does"
            .to_owned(),
    })
}
