//! The store on disk: one redb file.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::{Builder, Database};

use super::content::{self, ContentError, StoreContent};
use super::folder::{Folder, file_identity};
use super::{OpenedStore, Snapshot, State, Store, StoreError};

/// Memory that redb may use, bytes: the file holds a few numbers while the server runs.
const CACHE_BYTES: usize = 4 << 20;

/// The store on disk.
pub struct RedbStore {
    folder: Folder,
    /// `None` after an error: what the file says is unknown until it is opened again.
    open: Option<OpenDatabase>,
    /// Content of the file after the last success.
    content: StoreContent,
    stopped: bool,
}

struct OpenDatabase {
    db: Database,
    identity: Option<(u64, u64)>,
}

impl RedbStore {
    /// Opens the store in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// Another process has it, or the system refuses to read or write it. A damaged file is no
    /// error: it is moved aside and told as [`State::Unreadable`].
    pub fn open(folder: &Path) -> Result<OpenedStore<Self>, StoreError> {
        let folder = Folder::open_locked(folder)?;
        let path = folder.database_path();
        let found =
            file_identity(&path).map_err(|source| StoreError::Io { path: path.clone(), source })?;
        let read = found.map(|_| catch_panic(|| open_existing(&path)));
        let (open, content, state) = match read {
            None => {
                let (open, content) = create_database(
                    &folder,
                    StoreContent { mark: 0, next_grant: 1, snapshot: None },
                )?;
                (open, content, State::Fresh)
            }
            Some(Ok((open, mut content))) => {
                let state = match content.snapshot.take() {
                    None => State::Crashed { mark: content.mark },
                    Some(snapshot) => State::Clean { snapshot },
                };
                // Also after a crash: the file must be writable before anybody relies on it.
                catch_panic(|| content::write_content(&open.db, &content))
                    .map_err(|t| store_error(&path, t))?;
                (open, content, state)
            }
            Some(Err(ContentError::Damaged(why))) => {
                let failed = |source| StoreError::Io { path: path.clone(), source };
                let aside = folder.set_aside().map_err(failed)?;
                let why = format!(
                    "{} is damaged or not a store of spa-server ({why}); it is kept as {}",
                    path.display(),
                    aside.display()
                );
                let (open, content) = create_database(
                    &folder,
                    StoreContent { mark: 0, next_grant: 1, snapshot: None },
                )?;
                (open, content, State::Unreadable { why })
            }
            Some(Err(trouble)) => return Err(store_error(&path, trouble)),
        };
        Ok(OpenedStore { store: Self { folder, open: Some(open), content, stopped: false }, state })
    }

    /// Writes `content`; on success it is what this store says from now on.
    fn put_content(&mut self, content: StoreContent) -> Result<(), StoreError> {
        if self.stopped {
            return Err(StoreError::Stopped);
        }
        let path = self.folder.database_path();
        let now =
            file_identity(&path).map_err(|source| StoreError::Io { path: path.clone(), source })?;
        let open = match self.open.take() {
            // A commit to a file that somebody has removed or replaced would be lost at the next
            // start.
            Some(open) if now.is_some() && open.identity == now => open,
            other => {
                close_quietly(other);
                self.reopen_file(now.is_some())?
            }
        };
        match catch_panic(|| content::write_content(&open.db, &content)) {
            Ok(()) => {
                self.open = Some(open);
                self.content = content;
                Ok(())
            }
            Err(trouble) => {
                close_quietly(Some(open));
                Err(store_error(&path, trouble))
            }
        }
    }

    /// Opens the file again after an error. What it says does not matter: this process knows all
    /// that was ever durable, and writes it anew.
    fn reopen_file(&self, exists: bool) -> Result<OpenDatabase, StoreError> {
        let path = self.folder.database_path();
        if exists {
            match catch_panic(|| open_existing(&path)) {
                Ok((open, _)) => return Ok(open),
                Err(ContentError::Damaged(_)) => {
                    self.folder.set_aside().map_err(|source| StoreError::Io { path, source })?;
                }
                Err(trouble) => return Err(store_error(&path, trouble)),
            }
        }
        create_database(&self.folder, self.content.clone()).map(|(open, _)| open)
    }
}

impl Store for RedbStore {
    fn advance(&mut self, mark: u64) -> Result<(), StoreError> {
        if mark <= self.content.mark && !self.stopped {
            return Ok(());
        }
        self.put_content(StoreContent { mark, ..self.content.clone() })
    }

    fn reserve(&mut self, count: u64) -> Result<Range<u64>, StoreError> {
        let first = self.content.next_grant;
        let next_grant = first.saturating_add(count);
        self.put_content(StoreContent { next_grant, ..self.content.clone() })?;
        Ok(first..next_grant)
    }

    fn stop(&mut self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let done = self
            .put_content(StoreContent { snapshot: Some(snapshot.clone()), ..self.content.clone() });
        self.stopped = true;
        close_quietly(self.open.take());
        done
    }
}

impl std::fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbStore")
            .field("folder", &self.folder)
            .field("content", &self.content)
            .finish()
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        close_quietly(self.open.take());
    }
}

fn database_builder() -> Builder {
    let mut builder = Builder::new();
    // Every page's checksum is verified: a plain open trusts the file.
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

fn open_existing(path: &Path) -> Result<(OpenDatabase, StoreContent), ContentError> {
    let before = std::fs::symlink_metadata(path).map_err(ContentError::Io)?;
    if !before.is_file() || before.len() == 0 {
        return Err(ContentError::Damaged("it is empty or not a regular file".to_owned()));
    }
    let db = database_builder().open(path)?;
    let content = content::read_content(&db)?;
    let identity = file_identity(path).map_err(ContentError::Io)?;
    Ok((OpenDatabase { db, identity }, content))
}

/// Makes a new file. It gets its name when it is complete, so a crash leaves none or a whole one.
fn create_database(
    folder: &Folder,
    content: StoreContent,
) -> Result<(OpenDatabase, StoreContent), StoreError> {
    let path = folder.database_path();
    let failed = |trouble| store_error(&path, trouble);
    let unborn = folder.create_temp().map_err(ContentError::Io).map_err(failed)?;
    let db = catch_panic(|| Ok(database_builder().create(&unborn)?)).map_err(failed)?;
    catch_panic(|| content::write_content(&db, &content)).map_err(failed)?;
    folder.commit_temp().map_err(ContentError::Io).map_err(failed)?;
    let identity = file_identity(&path).map_err(ContentError::Io).map_err(failed)?;
    Ok((OpenDatabase { db, identity }, content))
}

/// Runs something of redb, which may panic on a damaged file.
pub(super) fn catch_panic<T>(
    work: impl FnOnce() -> Result<T, ContentError>,
) -> Result<T, ContentError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(ContentError::Damaged(panic_text(panic.as_ref()))))
}

/// Drops a database that may be damaged, whatever redb does then.
pub(super) fn close_quietly<T>(open: Option<T>) {
    // Dropping writes redb's own bookkeeping, on which nothing of ours depends.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(open)));
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the database gave up").to_owned()
}

fn store_error(path: &Path, trouble: ContentError) -> StoreError {
    match trouble {
        ContentError::Io(source) => StoreError::Io { path: path.to_owned(), source },
        ContentError::Busy => StoreError::Busy(path.to_owned()),
        ContentError::Damaged(what) => StoreError::Database { path: path.to_owned(), what },
    }
}
