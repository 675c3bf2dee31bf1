//! The file that node_exporter's textfile collector reads.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Names that are tried for the file of before its birth.
const MAX_NAMES: u32 = 8;

/// Puts the text in the file's place at once, readable by everybody: the collector never sees half
/// of it.
///
/// # Errors
/// What the system says; the file is as it was.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let (unborn, mut file) = create_unborn(path)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.set_permissions(Permissions::from_mode(0o644)))
        .and_then(|()| fs::rename(&unborn, path));
    if written.is_err() {
        let _gone = fs::remove_file(&unborn);
    }
    written
}

/// Creates the file under a name of before its birth. What stands in its place and cannot be taken
/// away, such as a folder, must not end the figures for good: then another name is taken.
fn create_unborn(path: &Path) -> io::Result<(PathBuf, File)> {
    let mut number = 0;
    loop {
        let end = if number == 0 { String::new() } else { format!("-{number}") };
        let unborn = path.with_extension(format!("prom.new{end}"));
        let _left_by_a_crash = fs::remove_file(&unborn);
        // The folder may be another user's: nothing that lies there already is written to, least of
        // all through a link.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unborn) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < MAX_NAMES => {
                number += 1;
            }
            other => return other.map(|file| (unborn, file)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn l7_a_folder_in_the_way_does_not_end_the_figures() {
        let folder = std::env::temp_dir().join(format!("spa-textfile-{}", std::process::id()));
        fs::create_dir_all(folder.join("spa.prom.new/full")).unwrap();
        let path = folder.join("spa.prom");
        for text in ["a 1\n", "a 2\n"] {
            write(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "something is left over");
        fs::remove_dir_all(&folder).unwrap();
    }
}
