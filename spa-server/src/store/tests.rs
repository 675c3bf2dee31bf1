#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod audit;
mod audit_damage;
mod audit_thread;
mod contract;
mod damage;
mod disk_full;
mod folder;
mod kill;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{DiskStore, StoreSnapshot, Used};

/// A folder of its own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        Self::under(&std::env::temp_dir())
    }

    /// For tests of many steps that are not about the disk.
    fn in_memory() -> Self {
        let shm = Path::new("/dev/shm");
        if shm.is_dir() { Self::under(shm) } else { Self::new() }
    }

    fn under(parent: &Path) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("spa-store-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn state(&self) -> PathBuf {
        self.0.join("state")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open(folder: &Path) -> super::OpenedStore {
    DiskStore::open(folder).unwrap()
}

fn used(i: u8) -> Used {
    Used {
        session: [i; 16],
        client: [i; 32],
        ts: u64::from(i) + 1000,
        accepted: i.is_multiple_of(2),
    }
}

fn snapshot(entries: u8) -> StoreSnapshot {
    StoreSnapshot {
        used: (0..entries).map(used).collect(),
        floors: (0..entries / 2).map(|i| ([i; 32], u64::from(i) + 2000)).collect(),
        unknown_mark: 77,
        unknown_since: 78,
        unknown_reach: 79,
        stopped: 80,
        next_reach: 0,
        server: [0; 32],
    }
}
