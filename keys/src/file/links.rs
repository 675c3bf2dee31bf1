//! Symbolic links in place of a configuration, as NixOS and Kubernetes make them: followed where
//! nobody but us and root chooses what they lead to.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use super::error::FileError;
use super::read::folder_of;

/// Most links on one way, as the kernel's own (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Returns the file that a path leads to, for the reader to open without following anything more.
/// A path that is no link is returned as it is.
///
/// Each link, and the folder that it stands in, must belong to root or to us, and others must not
/// be able to replace it. Root accepts the folder of another user as well, if the file at the end
/// is that user's: what stands there is his choice anyway.
///
/// # Errors
/// Somebody else could lead it elsewhere.
pub fn follow_trusted(path: &Path) -> Result<PathBuf, FileError> {
    let is_link = path.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
    let Some(name) = path.file_name().filter(|_| is_link) else { return Ok(path.to_owned()) };
    let failed = |source| FileError::from_io(path, source);
    let refused = || FileError::Symlink(path.to_owned());
    let us = nix::unistd::geteuid().as_raw();
    let mut at = folder_of(path).canonicalize().map_err(failed)?;
    let mut left: Vec<OsString> = vec![name.to_owned()];
    let mut links = 0;
    let mut stranger = None;
    while let Some(name) = left.pop() {
        let next = at.join(&name);
        let meta = next.symlink_metadata().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => {
                FileError::DeadLink { path: path.to_owned(), missing: next.clone() }
            }
            _ => failed(source),
        })?;
        if !meta.is_symlink() {
            at = next;
            continue;
        }
        let folder = at.symlink_metadata().map_err(failed)?;
        links += 1;
        if links > MAX_LINKS || is_replaceable(&folder) || ![0, us].contains(&meta.uid()) {
            return Err(refused());
        }
        if ![0, us].contains(&folder.uid()) {
            stranger = Some(folder.uid());
        }
        let target = next.read_link().map_err(failed)?;
        push_components(&target, &mut at, &mut left);
    }
    let owner = at.symlink_metadata().map_err(failed)?.uid();
    if stranger.is_some_and(|stranger| us != 0 || stranger != owner) {
        return Err(refused());
    }
    Ok(at)
}

/// Opens what a path leads to, by [`follow_trusted`] and one of the openers of this module. What is
/// wrong with a file behind a link is told of the link.
///
/// # Errors
/// As both.
pub fn open_behind(
    path: &Path,
    open: impl FnOnce(&Path) -> Result<File, FileError>,
) -> Result<File, FileError> {
    let target = follow_trusted(path)?;
    open(&target).map_err(|error| match target == path {
        true => error,
        false => FileError::Behind { path: path.to_owned(), error: Box::new(error) },
    })
}

/// Others than the folder's owner could put something else in the place of what stands there. With
/// the sticky bit they replace only what is theirs.
fn is_replaceable(folder: &Metadata) -> bool {
    folder.mode() & 0o022 != 0 && folder.mode() & 0o1000 == 0
}

/// Puts a link's target before what is left of the way.
fn push_components(target: &Path, at: &mut PathBuf, left: &mut Vec<OsString>) {
    let mut names: Vec<OsString> = Vec::new();
    for component in target.components() {
        match component {
            Component::RootDir => *at = PathBuf::from("/"),
            Component::Normal(name) => names.push(name.to_owned()),
            Component::ParentDir if names.pop().is_none() => {
                at.pop();
            }
            Component::ParentDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    left.extend(names.into_iter().rev());
}
