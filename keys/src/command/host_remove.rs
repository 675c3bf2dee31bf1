//! `spa host remove`

use spa_keys::file::{self, FileError};
use spa_keys::{Folder, FolderError, exit};

use crate::command::Failure;
use crate::command::config_edit::ConfigEdit;

pub(crate) fn run(name: &str) -> Result<(), Failure> {
    let folder = Folder::of_user()?;
    let settings = ConfigEdit::open(&folder)?.remove(name);
    match file::remove(&folder.host_file(name)?) {
        // Settings that outlived their host, as `spa check` finds them.
        Err(FileError::Missing(_)) if settings.changed() => {
            settings.save()?;
            spa_keys::note!("there was no host {name}, only settings for it: forgotten");
            Ok(())
        }
        Err(FileError::Missing(_)) => {
            // Not the exit code "nothing was sent": nothing was to be sent.
            Err(Failure::new(exit::FAILURE, FolderError::NoHost(name.to_owned()).to_string()))
        }
        Err(error) => Err(error.into()),
        Ok(()) => {
            settings.save()?;
            spa_keys::note!(
                "forgotten here; the server still knows this client until: spa-server client remove"
            );
            Ok(())
        }
    }
}
