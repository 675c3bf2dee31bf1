//! `spa import`

use std::path::Path;

use spa_keys::file::{self, FileError};
use spa_keys::import::{self, Imported, Peer, PeerFile, RemarkWeight};
use spa_keys::{Failure, SecretText};
use zeroize::Zeroizing;

use crate::command::args::{Import, PeerArg};
use crate::command::output;

/// Largest file taken, in bytes.
const MAX_PEER_FILE_BYTES: u64 = 1024 * 1024;

/// Runs `spa import`.
pub(crate) fn run(args: &Import) -> Result<(), Failure> {
    let inputs =
        args.files.iter().map(|path| read_peer_file(path)).collect::<Result<Vec<_>, _>>()?;
    let peer = match args.from {
        PeerArg::Fwknop => Peer::Fwknop,
        PeerArg::Knockd => Peer::Knockd,
    };
    let imported =
        import::import(peer, &inputs).map_err(|error| Failure::config(error.to_string()))?;
    if args.output.is_none() && imported.server.is_some() && imported.client.is_some() {
        return Err(Failure::usage(
            "these are files of a server and of a client, which become two files: add --output DIR",
        ));
    }
    for remark in &imported.remarks {
        spa_keys::note!("{remark}");
    }
    match &args.output {
        Some(folder) => write_files(folder, &imported)?,
        None => {
            imported
                .server
                .iter()
                .chain(&imported.client)
                .try_for_each(|text| output::print_line(text.trim_end()))?;
        }
    }
    let count = |weight| imported.remarks.iter().filter(|remark| remark.weight == weight).count();
    let (warnings, lost) = (count(RemarkWeight::Warning), count(RemarkWeight::Lost));
    let next = match (&args.output, imported.server.is_some()) {
        (Some(folder), true) => {
            format!(
                "; next: spa-server check --offline {}",
                folder.join("spa-server.toml").display()
            )
        }
        _ => String::new(),
    };
    spa_keys::note!(
        "spa: {warnings} warnings: lines without an equivalent; no key was copied{next}"
    );
    if imported.empty {
        return Err(Failure::failed(
            "NOTHING WAS TAKEN OVER: the result opens nothing; see the lines above, and name all \
             files of the installation",
        ));
    }
    if lost > 0 {
        return Err(Failure::failed(format!(
            "NOT TAKEN OVER: {lost} lines, each named above; the result does not open the same: \
             write by hand what is missing"
        )));
    }
    Ok(())
}

fn read_peer_file(path: &Path) -> Result<PeerFile, Failure> {
    let bytes = Zeroizing::new(file::read_public_bytes(path, MAX_PEER_FILE_BYTES)?);
    let name = path.display().to_string();
    // A byte order mark, as some editors write it.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(PeerFile { name: name.into(), text: SecretText::new(text.to_owned()) }),
        Err(error) => {
            let before = bytes.iter().take(error.valid_up_to());
            let line = 1 + before.filter(|byte| **byte == b'\n').count();
            let name = spa_keys::printable(&name);
            Err(Failure::config(format!(
                "{name}:{line}: not UTF-8 text; change it with: iconv -f latin1 -t utf-8"
            )))
        }
    }
}

/// Writes all files or none: existing ones are looked for before the first is written.
fn write_files(folder: &Path, imported: &Imported) -> Result<(), Failure> {
    let files = [("spa-server.toml", &imported.server), ("config.toml", &imported.client)];
    let files: Vec<_> =
        files.iter().filter_map(|(name, text)| Some((folder.join(name), text.as_ref()?))).collect();
    if let Some((path, _)) = files.iter().find(|(path, _)| path.symlink_metadata().is_ok()) {
        return Err(FileError::Exists(path.clone()).into());
    }
    file::private_folder(folder)?;
    for (path, text) in files {
        file::write_new(&path, text)?;
        output::print_line(&path.display().to_string())?;
    }
    Ok(())
}
