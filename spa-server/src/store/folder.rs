//! The folder of the store: private, locked, and nothing in it is ever deleted.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use spa_keys::file::{FileError, FileLock};

use super::StoreError;

/// Locked as long as it lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: FileLock,
}

impl Folder {
    /// Makes the folder if need be (0700) and takes its lock.
    pub(super) fn open_locked(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        // Who can write the folder can put an old store in the place of ours.
        if fs::metadata(path).map_err(failed)?.mode() & 0o022 != 0 {
            return Err(StoreError::Exposed(path.to_owned()));
        }
        let lock = FileLock::try_take(&path.join("spa.lock")).map_err(|error| match error {
            FileError::Locked(_) => StoreError::Busy(path.to_owned()),
            FileError::Io { path, source } => StoreError::Io { path, source },
            other => failed(other.into()),
        })?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The store's file.
    pub(super) fn store_path(&self) -> PathBuf {
        self.path.join("spa.store")
    }

    /// Where a file is made before it gets its name.
    fn temp_path(&self) -> PathBuf {
        self.path.join("spa.store.new")
    }

    /// Where to make a file; what a crash has left there is gone.
    pub(super) fn clear_temp(&self) -> io::Result<PathBuf> {
        let path = self.temp_path();
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        Ok(path)
    }

    /// Gives the finished file its name.
    pub(super) fn commit_temp(&self) -> io::Result<()> {
        fs::rename(self.temp_path(), self.store_path())?;
        self.sync_folder()
    }

    /// Moves what stands in the file's place to the first free `….corrupt-N`.
    pub(super) fn set_aside(&self) -> io::Result<PathBuf> {
        let mut number = 1_u64;
        loop {
            let aside = self.path.join(format!("spa.store.corrupt-{number}"));
            // We hold the folder's lock, so nobody takes the name between the look and the rename.
            if fs::symlink_metadata(&aside).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
                fs::rename(self.store_path(), &aside)?;
                self.sync_folder()?;
                return Ok(aside);
            }
            number += 1;
        }
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}
