//! The store on disk: one redb file.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::{Builder, Database};

use super::content::{self, Content, Trouble};
use super::folder::{Folder, identity};
use super::{Opened, Snapshot, State, Store, StoreError};

/// Memory that redb may use, bytes: the file holds a few numbers while the server runs.
const CACHE: usize = 4 << 20;

/// The store on disk.
pub struct RedbStore {
    folder: Folder,
    /// `None` after an error: what the file says is unknown until it is opened again.
    open: Option<Open>,
    /// What the file said after the last success.
    content: Content,
    stopped: bool,
}

struct Open {
    db: Database,
    identity: Option<(u64, u64)>,
}

impl RedbStore {
    /// Opens the store in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// Another process has it, or the system refuses to read or write it. A damaged file is no
    /// error: it is moved aside and told as [`State::Unreadable`].
    pub fn open(folder: &Path) -> Result<Opened<Self>, StoreError> {
        let folder = Folder::open(folder)?;
        let path = folder.database();
        let found =
            identity(&path).map_err(|source| StoreError::Io { path: path.clone(), source })?;
        let read = found.map(|_| guarded(|| existing(&path)));
        let (open, content, state) = match read {
            None => {
                let (open, content) =
                    fresh(&folder, Content { mark: 0, next_grant: 1, snapshot: None })?;
                (open, content, State::Fresh)
            }
            Some(Ok((open, mut content))) => {
                let state = match content.snapshot.take() {
                    None => State::Crashed { mark: content.mark },
                    Some(snapshot) => State::Clean { snapshot },
                };
                // Also after a crash: the file must be writable before anybody relies on it.
                guarded(|| content::write(&open.db, &content)).map_err(|t| error(&path, t))?;
                (open, content, state)
            }
            Some(Err(Trouble::Damaged(why))) => {
                let failed = |source| StoreError::Io { path: path.clone(), source };
                let aside = folder.set_aside().map_err(failed)?;
                let why = format!(
                    "{} is damaged or no store of spa-server ({why}); it is kept as {}",
                    path.display(),
                    aside.display()
                );
                let (open, content) =
                    fresh(&folder, Content { mark: 0, next_grant: 1, snapshot: None })?;
                (open, content, State::Unreadable { why })
            }
            Some(Err(trouble)) => return Err(error(&path, trouble)),
        };
        Ok(Opened { store: Self { folder, open: Some(open), content, stopped: false }, state })
    }

    /// Writes `content`; on success it is what this store says from now on.
    fn put(&mut self, content: Content) -> Result<(), StoreError> {
        if self.stopped {
            return Err(StoreError::Stopped);
        }
        let path = self.folder.database();
        let now =
            identity(&path).map_err(|source| StoreError::Io { path: path.clone(), source })?;
        let open = match self.open.take() {
            // A commit to a file that somebody has removed or replaced would be lost at the next
            // start.
            Some(open) if now.is_some() && open.identity == now => open,
            other => {
                close(other);
                self.reopen(now.is_some())?
            }
        };
        match guarded(|| content::write(&open.db, &content)) {
            Ok(()) => {
                self.open = Some(open);
                self.content = content;
                Ok(())
            }
            Err(trouble) => {
                close(Some(open));
                Err(error(&path, trouble))
            }
        }
    }

    /// Opens the file again after an error. What it says does not matter: this process knows all
    /// that was ever durable, and writes it anew.
    fn reopen(&self, exists: bool) -> Result<Open, StoreError> {
        let path = self.folder.database();
        if exists {
            match guarded(|| existing(&path)) {
                Ok((open, _)) => return Ok(open),
                Err(Trouble::Damaged(_)) => {
                    self.folder.set_aside().map_err(|source| StoreError::Io { path, source })?;
                }
                Err(trouble) => return Err(error(&path, trouble)),
            }
        }
        fresh(&self.folder, self.content.clone()).map(|(open, _)| open)
    }
}

impl Store for RedbStore {
    fn advance(&mut self, mark: u64) -> Result<(), StoreError> {
        if mark <= self.content.mark && !self.stopped {
            return Ok(());
        }
        self.put(Content { mark, ..self.content.clone() })
    }

    fn reserve(&mut self, count: u64) -> Result<Range<u64>, StoreError> {
        let first = self.content.next_grant;
        let next_grant = first.saturating_add(count);
        self.put(Content { next_grant, ..self.content.clone() })?;
        Ok(first..next_grant)
    }

    fn stop(&mut self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let done = self.put(Content { snapshot: Some(snapshot.clone()), ..self.content.clone() });
        self.stopped = true;
        close(self.open.take());
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
        close(self.open.take());
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    // Every page's checksum is verified: a plain open trusts the file.
    builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
    builder
}

fn existing(path: &Path) -> Result<(Open, Content), Trouble> {
    let before = std::fs::symlink_metadata(path).map_err(Trouble::Io)?;
    if !before.is_file() || before.len() == 0 {
        return Err(Trouble::Damaged("it is empty or no regular file".to_owned()));
    }
    let db = builder().open(path)?;
    let content = content::read(&db)?;
    let identity = identity(path).map_err(Trouble::Io)?;
    Ok((Open { db, identity }, content))
}

/// Makes a new file. It gets its name when it is complete, so a crash leaves none or a whole one.
fn fresh(folder: &Folder, content: Content) -> Result<(Open, Content), StoreError> {
    let path = folder.database();
    let failed = |trouble| error(&path, trouble);
    let unborn = folder.conceive().map_err(Trouble::Io).map_err(failed)?;
    let db = guarded(|| Ok(builder().create(&unborn)?)).map_err(failed)?;
    guarded(|| content::write(&db, &content)).map_err(failed)?;
    folder.deliver().map_err(Trouble::Io).map_err(failed)?;
    let identity = identity(&path).map_err(Trouble::Io).map_err(failed)?;
    Ok((Open { db, identity }, content))
}

/// Runs something of redb, which may panic on a damaged file.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Trouble::Damaged(reason(panic.as_ref()))))
}

pub(super) fn close<T>(open: Option<T>) {
    // Dropping writes redb's own bookkeeping, on which nothing of ours depends.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(open)));
}

fn reason(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the database gave up").to_owned()
}

fn error(path: &Path, trouble: Trouble) -> StoreError {
    match trouble {
        Trouble::Io(source) => StoreError::Io { path: path.to_owned(), source },
        Trouble::Busy => StoreError::Busy(path.to_owned()),
        Trouble::Damaged(what) => StoreError::Database { path: path.to_owned(), what },
    }
}
