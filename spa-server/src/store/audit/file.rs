//! The record on disk: one redb file.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use nix::fcntl::FlockArg;
use redb::backends::InMemoryBackend;
use redb::{
    Builder, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend,
    TableDefinition,
};
use spa_keys::file::{self, FileError, FileLock};
use spa_keys::whole_millis;

use super::fault::{DatabaseFault, catch_panic, close_quietly};
use super::{AuditKey, AuditQuery, Entry, Limits, MAX_PAGE_ENTRIES, Page};

/// Opening time and number to the entry as JSON.
const ENTRY_TABLE: TableDefinition<'_, AuditKey, &[u8]> = TableDefinition::new("spa audit");
/// The entries without an end: what a start after a crash must look at.
const OPEN_TABLE: TableDefinition<'_, AuditKey, ()> = TableDefinition::new("spa audit open");
/// Memory that redb may use, bytes.
const CACHE_BYTES: usize = 4 << 20;
/// Entries that one page looks at: a question about one client of many must not keep the thread
/// from writing.
const LOOKED_AT: usize = 20_000;
const FILE_NAME: &str = "audit.redb";

/// Why the record cannot be read or written. Nothing else depends on it.
#[derive(Debug, thiserror::Error)]
#[error("audit record {}: {what}", .path.display())]
pub struct AuditError {
    path: PathBuf,
    what: String,
    kind: std::io::ErrorKind,
}

impl AuditError {
    /// Returns true when the caller lacks the permission to read it.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        self.kind == std::io::ErrorKind::PermissionDenied
    }
}

/// An open record.
pub struct AuditFile {
    path: PathBuf,
    /// `None` after an error, until it is opened again.
    db: Option<Database>,
}

impl AuditFile {
    /// Opens the record in the folder of the store, whose lock the caller holds. Also, when there
    /// was something damaged: where it is kept.
    ///
    /// # Errors
    /// The system refuses to read or write it.
    pub fn open(folder: &Path) -> Result<(Self, Option<PathBuf>), AuditError> {
        let mut file = Self { path: folder.join(FILE_NAME), db: None };
        let aside = file.reopen_file()?;
        Ok((file, aside))
    }

    fn reopen_file(&mut self) -> Result<Option<PathBuf>, AuditError> {
        let there = match fs::symlink_metadata(&self.path) {
            Ok(_) => true,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => return Err(self.audit_error(&DatabaseFault::Io(error))),
        };
        let opened = if there {
            catch_panic(|| open_existing(&self.path))
        } else {
            catch_panic(|| create_database(&self.path))
        };
        match opened {
            Ok(db) => {
                self.db = Some(db);
                Ok(None)
            }
            Err(DatabaseFault::Damaged(what)) if there => {
                let aside = set_aside(&self.path).map_err(|error| {
                    let path = self.path.display();
                    let text = format!(
                        "{what}, and it cannot be moved away ({error}): mv {path} {path}.old, then \
                         start the server anew"
                    );
                    self.audit_error(&DatabaseFault::Io(std::io::Error::new(error.kind(), text)))
                })?;
                self.db = Some(
                    catch_panic(|| create_database(&self.path))
                        .map_err(|t| self.audit_error(&t))?,
                );
                Ok(Some(aside))
            }
            Err(trouble) => Err(self.audit_error(&trouble)),
        }
    }

    /// Every entry without an end.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open_entries(&mut self) -> Result<Vec<Entry>, AuditError> {
        self.with_database(|db| {
            let txn = db.begin_read()?;
            let (entries, open) = (txn.open_table(ENTRY_TABLE)?, txn.open_table(OPEN_TABLE)?);
            let mut found = Vec::new();
            for one in open.iter()? {
                let (key, ()) = one.map(|(key, _)| (key.value(), ()))?;
                found.extend(entries.get(key)?.and_then(|value| decode_entry(value.value())));
            }
            Ok(found)
        })
    }

    /// Writes entries, each in the place of its earlier self, and drops what is beyond the limits:
    /// durable when it answers.
    ///
    /// # Errors
    /// None of it may be there.
    pub fn put<'e>(
        &mut self,
        entries: impl Iterator<Item = &'e Entry> + Clone,
        limits: Limits,
        unix_ms: u64,
    ) -> Result<(), AuditError> {
        self.with_database(|db| {
            let txn = db.begin_write()?;
            {
                let (mut table, mut open) =
                    (txn.open_table(ENTRY_TABLE)?, txn.open_table(OPEN_TABLE)?);
                for entry in entries.clone() {
                    let text = serde_json::to_vec(entry)
                        .map_err(|e| DatabaseFault::Damaged(e.to_string()))?;
                    table.insert(entry.key(), text.as_slice())?;
                    match entry.end {
                        None => drop(open.insert(entry.key(), ())?),
                        Some(_) => drop(open.remove(entry.key())?),
                    }
                }
                let keep_ms = whole_millis(limits.keep);
                let from = (unix_ms.saturating_sub(keep_ms), 0);
                loop {
                    let first = table.first()?.map(|(key, _)| key.value());
                    let many = table.len()? > u64::from(limits.max_entries);
                    let Some(key) = first.filter(|key| many || *key < from) else { break };
                    table.remove(key)?;
                    open.remove(key)?;
                }
            }
            Ok(txn.commit()?)
        })
    }

    /// A page of what is asked for. `unwritten`: entries that are newer than the file's.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn page(
        &mut self,
        query: &AuditQuery,
        unwritten: &BTreeMap<AuditKey, Entry>,
    ) -> Result<Page, AuditError> {
        self.with_database(|db| read_page(db, query, unwritten))
    }

    fn with_database<T>(
        &mut self,
        work: impl Fn(&Database) -> Result<T, DatabaseFault>,
    ) -> Result<T, AuditError> {
        // A file that was removed or replaced under us: what we write would be gone at the next
        // start.
        if self.db.is_some() && !self.path.exists() {
            close_quietly(self.db.take());
        }
        if self.db.is_none() {
            self.reopen_file()?;
        }
        let Some(db) = self.db.take() else {
            return Err(self.audit_error(&DatabaseFault::Damaged("it is not open".to_owned())));
        };
        match catch_panic(|| work(&db)) {
            Ok(done) => {
                self.db = Some(db);
                Ok(done)
            }
            Err(trouble) => {
                close_quietly(Some(db));
                Err(self.audit_error(&trouble))
            }
        }
    }

    fn audit_error(&self, trouble: &DatabaseFault) -> AuditError {
        error_at(&self.path, trouble)
    }
}

impl Drop for AuditFile {
    fn drop(&mut self) {
        close_quietly(self.db.take());
    }
}

impl std::fmt::Debug for AuditFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Reads the record of a server that does not run: as many entries as asked for, the newest first.
/// Nothing is changed: a file that a crash left is mended in memory.
///
/// # Errors
/// It cannot be read, or a server has it.
pub fn read(folder: &Path, query: &AuditQuery) -> Result<Vec<Entry>, AuditError> {
    let path = folder.join(FILE_NAME);
    let failed = |trouble: DatabaseFault| error_at(&path, &trouble);
    // Often root reads what the server's user could have made a link or a pipe.
    let bytes = match file::open_secret(&path) {
        Err(FileError::Missing(_)) => return Ok(Vec::new()),
        Err(error) => return Err(failed(DatabaseFault::Io(error.into()))),
        Ok(file) => copy_file(&path, file).map_err(failed)?,
    };
    catch_panic(|| {
        let memory = InMemoryBackend::new();
        memory
            .set_len(bytes.len() as u64)
            .and_then(|()| memory.write(0, &bytes))
            .map_err(DatabaseFault::Io)?;
        let db = database_builder().create_with_backend(memory)?;
        let mut query = query.clone();
        let limit = query.limit.unwrap_or(usize::MAX);
        let mut entries = Vec::new();
        loop {
            query.limit = Some(limit - entries.len());
            let page = read_page(&db, &query, &BTreeMap::new())?;
            entries.extend(page.entries);
            match page.next {
                Some(next) if entries.len() < limit => query.before = Some(next),
                _ => return Ok(entries),
            }
        }
    })
    .map_err(failed)
}

fn copy_file(path: &Path, mut file: fs::File) -> Result<Vec<u8>, DatabaseFault> {
    let same = file.try_clone().map_err(DatabaseFault::Io)?;
    // The lock that redb takes itself.
    let _lock =
        FileLock::of_open(path, same, FlockArg::LockSharedNonblock).map_err(
            |error| match error {
                FileError::Locked(_) => DatabaseFault::Busy,
                other => DatabaseFault::Io(other.into()),
            },
        )?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(DatabaseFault::Io)?;
    if bytes.is_empty() {
        return Err(DatabaseFault::Damaged("it is empty".to_owned()));
    }
    Ok(bytes)
}

fn read_page(
    db: &Database,
    query: &AuditQuery,
    unwritten: &BTreeMap<AuditKey, Entry>,
) -> Result<Page, DatabaseFault> {
    let limit = query.limit.unwrap_or(MAX_PAGE_ENTRIES).min(MAX_PAGE_ENTRIES);
    let mut page = Page::default();
    if limit == 0 {
        return Ok(page);
    }
    let end = query.before.map_or(Bound::Unbounded, Bound::Excluded);
    let range = (Bound::Unbounded, end);
    let table = db.begin_read()?.open_table(ENTRY_TABLE)?;
    let mut written = table.range::<AuditKey>(range)?.rev();
    let mut newer = unwritten.range(range).rev().peekable();
    let mut next = written.next().transpose()?;
    for _ in 0..LOOKED_AT {
        let old = next.as_ref().map(|(key, _)| key.value());
        let (key, entry) = match (old, newer.peek().map(|(key, _)| **key)) {
            (None, None) => return Ok(page),
            (old, Some(key)) if old.is_none_or(|old| key >= old) => {
                if old == Some(key) {
                    next = written.next().transpose()?;
                }
                (key, newer.next().map(|(_, entry)| entry.clone()))
            }
            (old, _) => {
                let entry = next.as_ref().and_then(|(_, value)| decode_entry(value.value()));
                next = written.next().transpose()?;
                (old.unwrap_or_default(), entry)
            }
        };
        page.entries.extend(entry.filter(|entry| query.matches_entry(entry)));
        page.next = Some(key);
        if page.entries.len() >= limit {
            break;
        }
    }
    Ok(page)
}

/// An entry that a later version wrote in other words is left out rather than guessed at.
fn decode_entry(text: &[u8]) -> Option<Entry> {
    serde_json::from_slice(text).ok()
}

fn database_builder() -> Builder {
    let mut builder = Builder::new();
    // Every page's checksum is verified. A plain open trusts a file that was closed cleanly, and
    // what panics on it later may do so in a destructor, which ends the process.
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

fn open_existing(path: &Path) -> Result<Database, DatabaseFault> {
    let meta = fs::symlink_metadata(path).map_err(DatabaseFault::Io)?;
    if !meta.is_file() || meta.len() == 0 {
        return Err(DatabaseFault::Damaged("it is empty or not a regular file".to_owned()));
    }
    let db = database_builder().open(path)?;
    // Both tables are there, or it is no record of ours.
    let txn = db.begin_read()?;
    txn.open_table(ENTRY_TABLE)?.len()?;
    txn.open_table(OPEN_TABLE)?.len()?;
    drop(txn);
    Ok(db)
}

/// Makes a new file. It gets its name when it is complete, so a crash leaves none or a whole one.
fn create_database(path: &Path) -> Result<Database, DatabaseFault> {
    let unborn = path.with_extension("redb.new");
    match fs::remove_file(&unborn) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(DatabaseFault::Io(e)),
        _ => {}
    }
    drop(file::create_private(&unborn).map_err(|error| DatabaseFault::Io(error.into()))?);
    let db = database_builder().create(&unborn)?;
    let txn = db.begin_write()?;
    txn.open_table(ENTRY_TABLE)?;
    txn.open_table(OPEN_TABLE)?;
    txn.commit()?;
    fs::rename(&unborn, path).map_err(DatabaseFault::Io)?;
    Ok(db)
}

/// Moves a damaged record to the first free `audit.redb.corrupt-N`.
fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let mut number = 1_u64;
    loop {
        let aside = path.with_extension(format!("redb.corrupt-{number}"));
        if fs::symlink_metadata(&aside).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
            fs::rename(path, &aside)?;
            return Ok(aside);
        }
        number += 1;
    }
}

fn error_at(path: &Path, trouble: &DatabaseFault) -> AuditError {
    let what = match trouble {
        DatabaseFault::Io(error) => error.to_string(),
        DatabaseFault::Busy => "a running spa-server uses it".to_owned(),
        DatabaseFault::Damaged(what) => format!("damaged: {what}"),
    };
    let kind = match trouble {
        DatabaseFault::Io(error) => error.kind(),
        _ => std::io::ErrorKind::Other,
    };
    AuditError { path: path.to_owned(), what, kind }
}
