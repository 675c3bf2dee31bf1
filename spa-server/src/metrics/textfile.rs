//! The file that node_exporter's textfile collector reads.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Puts the text in the file's place at once, readable by everybody: the collector never sees half
/// of it.
///
/// # Errors
/// What the system says; the file is as it was.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let unborn = path.with_extension("prom.new");
    match fs::remove_file(&unborn) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    // The folder may be another user's: nothing that lies there already is written to, least of all
    // through a link.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unborn)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.set_permissions(Permissions::from_mode(0o644)))
        .and_then(|()| fs::rename(&unborn, path));
    if written.is_err() {
        let _gone = fs::remove_file(&unborn);
    }
    written
}
