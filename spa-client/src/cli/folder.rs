//! The folder that holds the client's files.

use std::path::PathBuf;

use clap::Args;
use spa_keys::{Failure, Folder};

/// Option that names the folder.
#[derive(Clone, Debug, Args)]
pub(crate) struct FolderOption {
    /// Folder with identity, hosts and config.toml [default: ~/.config/spa]
    #[arg(long = "config", value_name = "DIR")]
    pub(crate) path: Option<PathBuf>,
}

impl FolderOption {
    /// Returns the folder that the user has named, or the user's own.
    pub(crate) fn find_folder(&self) -> Result<Folder, Failure> {
        match &self.path {
            Some(path) => Ok(Folder::at(path.clone())),
            None => Ok(Folder::of_user()?),
        }
    }
}
