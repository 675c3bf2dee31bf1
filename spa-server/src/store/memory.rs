//! A store in memory, for simulations and tests: it crashes, fails and rots on command.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::content::StoreContent;
use super::{OpenedStore, RunIdentity, Store, StoreError, StoreSnapshot, StoreState};

/// Fault of the next write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails and nothing is written.
    Refuse,
    /// It fails, but what it wrote is there: the worst honest disk.
    WriteAndRefuse,
}

#[derive(Default)]
enum Medium {
    #[default]
    Nothing,
    Rotten,
    Good(Box<StoreContent>),
}

#[derive(Default)]
struct Disk {
    medium: Medium,
    fault: Option<(Fault, u64)>,
    in_use: bool,
    writes: u64,
}

/// The disk: it stays when a store on it is dropped, which is a crash unless it was stopped.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Disk>>);

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the store on this disk.
    ///
    /// # Errors
    /// It is open already, or a fault is due.
    pub fn open(&self) -> Result<OpenedStore<MemoryStore>, StoreError> {
        let mut disk = self.lock_disk();
        if disk.in_use {
            return Err(StoreError::Busy(PathBuf::from("memory")));
        }
        let empty = StoreContent::empty();
        let (content, state) = match &disk.medium {
            Medium::Nothing => (empty, StoreState::Fresh),
            Medium::Rotten => {
                (empty, StoreState::Unreadable { why: "the disk in memory is rotten".to_owned() })
            }
            Medium::Good(content) => {
                let mut content = StoreContent::clone(content);
                let state = match content.snapshot.take() {
                    None => StoreState::Crashed { mark: content.mark },
                    Some(snapshot) => StoreState::Clean { snapshot },
                };
                (content, state)
            }
        };
        disk.write_content(content.clone())?;
        disk.in_use = true;
        drop(disk);
        Ok(OpenedStore {
            mark: content.mark,
            last_run: content.last_run.clone(),
            store: MemoryStore { disk: self.clone(), content, stopped: false },
            state,
        })
    }

    /// The next `times` writes fail.
    pub fn fail(&self, fault: Fault, times: u64) {
        self.lock_disk().fault = Some((fault, times));
    }

    /// Writes work again.
    pub fn heal(&self) {
        self.lock_disk().fault = None;
    }

    /// Loses everything.
    pub fn wipe(&self) {
        self.lock_disk().medium = Medium::Nothing;
    }

    /// Makes the content unreadable.
    pub fn rot(&self) {
        self.lock_disk().medium = Medium::Rotten;
    }

    /// The mark that a crash now would leave.
    #[must_use]
    pub fn mark(&self) -> Option<u64> {
        match &self.lock_disk().medium {
            Medium::Good(content) => Some(content.mark),
            _ => None,
        }
    }

    /// Successful writes so far: what a hot path must not cause.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.lock_disk().writes
    }

    fn lock_disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    fn write_content(&mut self, content: StoreContent) -> Result<(), StoreError> {
        let fault = match &mut self.fault {
            Some((fault, times)) if *times > 0 => {
                *times -= 1;
                Some(*fault)
            }
            _ => None,
        };
        if fault != Some(Fault::Refuse) {
            self.medium = Medium::Good(Box::new(content));
        }
        match fault {
            None => {
                self.writes += 1;
                Ok(())
            }
            Some(_) => Err(StoreError::Io {
                path: PathBuf::from("memory"),
                source: io::ErrorKind::StorageFull.into(),
            }),
        }
    }
}

/// A store on a [`MemoryDisk`].
pub struct MemoryStore {
    disk: MemoryDisk,
    content: StoreContent,
    stopped: bool,
}

impl MemoryStore {
    fn put_content(&mut self, content: StoreContent) -> Result<(), StoreError> {
        if self.stopped {
            return Err(StoreError::Stopped);
        }
        self.disk.lock_disk().write_content(content.clone())?;
        self.content = content;
        Ok(())
    }
}

impl Store for MemoryStore {
    fn advance(&mut self, mark: u64) -> Result<(), StoreError> {
        if mark <= self.content.mark && !self.stopped {
            return Ok(());
        }
        self.put_content(StoreContent { mark, ..self.content.clone() })
    }

    fn take_back(&mut self, mark: u64) -> Result<(), StoreError> {
        self.put_content(StoreContent { mark, ..self.content.clone() })
    }

    fn begin_run(&mut self, run: &RunIdentity) -> Result<(), StoreError> {
        self.put_content(StoreContent { last_run: Some(run.clone()), ..self.content.clone() })
    }

    fn reserve(&mut self, count: u64) -> Result<Range<u64>, StoreError> {
        let first = self.content.next_grant;
        let next_grant = first.saturating_add(count);
        self.put_content(StoreContent { next_grant, ..self.content.clone() })?;
        Ok(first..next_grant)
    }

    fn stop(&mut self, snapshot: &StoreSnapshot) -> Result<(), StoreError> {
        let done = self.put_content(self.content.stopped(snapshot));
        self.stopped = true;
        done
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.disk.lock_disk().in_use = false;
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").field("content", &self.content).finish_non_exhaustive()
    }
}
