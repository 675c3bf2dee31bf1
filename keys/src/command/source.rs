//! The key file that a command means.

use std::path::{Path, PathBuf};

use spa_keys::{Failure, Folder};

/// Returns the key file that is meant; the user's own when none is named.
///
/// # Errors
/// When there is none of the user's own, with the way to one.
pub(crate) fn find_key_file(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let path = Folder::of_user()?.identity();
    if path.symlink_metadata().is_ok() {
        return Ok(path);
    }
    Err(Failure::failed(format!(
        "you have no key yet ({} does not exist); make one: spa keygen, or take an invitation: spa \
         join -",
        path.display()
    )))
}
