//! The store on disk: one file in a folder of its own.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use spa_proto::ServerPublic;

use super::content::StoreContent;
use super::folder::Folder;
use super::slot_file::{ReadError, SlotFile};
use super::{OpenedStore, RunIdentity, StoreError, StoreSnapshot, StoreState};

/// The store on disk. When a function answers `Ok`, what it did survives a crash of the process, of
/// the kernel and of the power; when it answers an error, it may or may not.
pub struct DiskStore {
    folder: Folder,
    /// `None` after it was found missing, until there is one again.
    file: Option<SlotFile>,
    /// Content of the file after the last success.
    content: StoreContent,
    stopped: bool,
}

impl DiskStore {
    /// Opens the store in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// Another process has it, a later version has written it, or the system refuses to read or
    /// write it. A damaged file is no error: it is moved aside and told as
    /// [`StoreState::Unreadable`].
    pub fn open(folder: &Path) -> Result<OpenedStore, StoreError> {
        let folder = Folder::open_locked(folder)?;
        let path = folder.store_path();
        let failed = |source| StoreError::Io { path: path.clone(), source };
        let (file, content, state) = match SlotFile::open(&path) {
            Ok((mut file, mut content)) => {
                let state = match content.snapshot.take() {
                    None => StoreState::Crashed { mark: content.mark },
                    Some(snapshot) => StoreState::Clean { snapshot },
                };
                // Also after a crash: the file must be writable before anybody relies on it. And
                // both slots: damage of one must not bring the snapshot back.
                file.write(&content).and_then(|()| file.settle()).map_err(failed)?;
                file.drop_snapshot().map_err(failed)?;
                (file, content, state)
            }
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                let content = StoreContent::empty();
                (create_file(&folder, &content)?, content, StoreState::Missing)
            }
            Err(ReadError::Io(source)) => return Err(failed(source)),
            Err(ReadError::Later) => return Err(StoreError::Later(path)),
            Err(ReadError::Damaged(why)) => {
                let aside = folder.set_aside().map_err(failed)?;
                let why = format!(
                    "{} is damaged or not a store of spa-server ({why}); it is kept as {}",
                    path.display(),
                    aside.display()
                );
                let content = StoreContent::empty();
                (create_file(&folder, &content)?, content, StoreState::Unreadable { why })
            }
        };
        let (mark, last_run) = (content.mark, content.last_run.clone());
        let store = Self { folder, file: Some(file), content, stopped: false };
        Ok(OpenedStore { store, state, mark, last_run })
    }

    /// Makes the store of a key that was just made: of no other key, machine or boot it says
    /// anything. One that a server has used stays as it is.
    ///
    /// # Errors
    /// As [`DiskStore::open`]; then there is no store, or the former one.
    pub fn prepare(folder: &Path, key: &ServerPublic) -> Result<(), StoreError> {
        let folder = Folder::open_locked(folder)?;
        let path = folder.store_path();
        match SlotFile::open(&path) {
            // Left by an `init` that was killed before its key had a name.
            Ok((_, content)) if content.is_of_no_run() => {}
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(ReadError::Io(source)) => return Err(StoreError::Io { path, source }),
            Ok(_) | Err(ReadError::Damaged(_) | ReadError::Later) => return Ok(()),
        }
        let last_run = Some(RunIdentity::before_the_first(key.0));
        create_file(&folder, &StoreContent { last_run, ..StoreContent::empty() }).map(drop)
    }

    /// Writes `content`; on success it is what this store says from now on.
    fn put_content(&mut self, content: StoreContent) -> Result<(), StoreError> {
        if self.stopped {
            return Err(StoreError::Stopped);
        }
        let path = self.folder.store_path();
        let failed = |source| StoreError::Io { path: path.clone(), source };
        let there = match fs::symlink_metadata(&path) {
            Ok(meta) => Some(meta),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(failed(source)),
        };
        let file = match (&mut self.file, there) {
            (Some(file), Some(meta)) if file.is_at(&meta) => file,
            // What goes to a file that somebody has removed or replaced would be lost at the next
            // start. This process knows all that was ever durable, and writes it anew.
            (_, there) => {
                self.file = None;
                if there.is_some() {
                    self.folder.set_aside().map_err(failed)?;
                }
                self.file.insert(create_file(&self.folder, &self.content)?)
            }
        };
        file.write(&content).map_err(failed)?;
        self.content = content;
        Ok(())
    }

    /// Writes the mark, Unix milliseconds. A mark that is not above the last one is durable
    /// already.
    ///
    /// # Errors
    /// It is not known to be durable: do not accept knocks above the last mark. Try again later.
    pub fn advance(&mut self, mark: u64) -> Result<(), StoreError> {
        if mark <= self.content.mark && !self.stopped {
            return Ok(());
        }
        self.put_content(StoreContent { mark, ..self.content.clone() })
    }

    /// Takes the mark back to this one: an administrator has said that the clock was wrong.
    ///
    /// # Errors
    /// It is this one or the former.
    pub fn take_back(&mut self, mark: u64) -> Result<(), StoreError> {
        self.put_content(StoreContent { mark, ..self.content.clone() })?;
        self.settle();
        Ok(())
    }

    /// Does what the last write has left for when nobody waits for it: a second copy.
    pub fn settle(&mut self) {
        // The last write is durable without it, and the next one tells what is wrong.
        let _unsettled = self.file.as_mut().map(SlotFile::settle);
    }

    /// Writes that a run has begun.
    ///
    /// # Errors
    /// The next start will find an earlier run, or this one.
    pub fn begin_run(&mut self, run: &RunIdentity) -> Result<(), StoreError> {
        self.put_content(StoreContent { last_run: Some(run.clone()), ..self.content.clone() })?;
        self.settle();
        Ok(())
    }

    /// Reserves numbers for grants; none of them is given out again, not even after a crash.
    ///
    /// # Errors
    /// None is reserved.
    pub fn reserve(&mut self, count: u64) -> Result<Range<u64>, StoreError> {
        let first = self.content.next_grant;
        let next_grant = first.saturating_add(count);
        self.put_content(StoreContent { next_grant, ..self.content.clone() })?;
        Ok(first..next_grant)
    }

    /// Ends this run cleanly. Afterwards the store takes nothing any more, error or not.
    ///
    /// # Errors
    /// The next start will find [`StoreState::Crashed`], or this snapshot.
    pub fn stop(&mut self, snapshot: &StoreSnapshot) -> Result<(), StoreError> {
        let done = self.put_content(self.content.stopped(snapshot));
        if done.is_ok() {
            self.settle();
        }
        self.stopped = true;
        done
    }
}

impl std::fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskStore")
            .field("folder", &self.folder)
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}

/// Makes a new file. It gets its name when it is complete, so a crash leaves none or a whole one.
fn create_file(folder: &Folder, content: &StoreContent) -> Result<SlotFile, StoreError> {
    let failed = |source| StoreError::Io { path: folder.store_path(), source };
    let temp = folder.clear_temp().map_err(failed)?;
    let file = SlotFile::create(&temp, content).map_err(failed)?;
    folder.commit_temp().map_err(failed)?;
    Ok(file)
}
