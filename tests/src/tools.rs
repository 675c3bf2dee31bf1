//! Programs that only some tests want and that no machine must install: `tests/install-tools.sh`
//! unpacks their packages below the target folder, so that no service of theirs is ever started.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::daemon::binary;

/// Folders of programs in a package.
const FOLDERS: [&str; 3] = ["usr/bin", "usr/sbin", "bin"];

/// `PATH` with the programs of unpacked packages first.
pub fn path() -> String {
    let folders = FOLDERS.map(|at| folder().join(at).display().to_string());
    format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", folders.join(":"))
}

/// The folder that packages are unpacked into.
pub fn folder() -> PathBuf {
    let profile = binary("spa-server");
    profile.parent().and_then(|folder| folder.parent()).expect("a target folder").join("tools")
}

/// A program of the system or of an unpacked package, if it runs here with this argument.
pub fn find(name: &str, argument: &str) -> Option<PathBuf> {
    let runs = |path: &PathBuf| {
        let quiet = Command::new(path).arg(argument).stdin(Stdio::null()).output();
        quiet.is_ok_and(|output| output.status.success())
    };
    let unpacked = FOLDERS.map(|at| folder().join(at).join(name));
    let found = [PathBuf::from(name)].into_iter().chain(unpacked).find(runs);
    if found.is_none() {
        eprintln!(
            "NOT RUN, needs {name}: tests/install-tools.sh unpacks it where Debian's packages can \
             be had"
        );
    }
    found
}
