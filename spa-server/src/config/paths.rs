//! Folders that a configuration implies without naming them.

use std::path::{Path, PathBuf};

/// `/var/lib/spa-broker` for the store in `/var/lib/spa`.
pub(crate) fn broker_folder(state: &Path) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push("-broker");
    PathBuf::from(name)
}
