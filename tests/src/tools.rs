//! Programs that only some tests want and that no machine must install: `tests/install-tools.sh`
//! unpacks their packages below the target folder, so that no service of theirs is ever started.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::daemon::binary;

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
    let found = [PathBuf::from(name), folder().join("usr/bin").join(name)].into_iter().find(runs);
    if found.is_none() {
        eprintln!(
            "NOT RUN, needs {name}: tests/install-tools.sh unpacks it where Debian's packages can \
             be had"
        );
    }
    found
}
