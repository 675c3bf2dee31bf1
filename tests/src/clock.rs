//! A wall clock that a test can move under a running program.
//!
//! Linux has no namespace for `CLOCK_REALTIME`, so Debian's libfaketime stands between the program and its C library. The
//! monotonic clock, and with it every kernel timer, stays true.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian's `libfaketime` package puts the library, below `/usr/lib/TRIPLET/faketime/`.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// The clock of one program.
#[derive(Clone, Debug)]
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    /// A true clock, controlled by a file in this folder.
    pub fn new(folder: &Path) -> Clock {
        let clock = Clock { file: folder.join("clock") };
        clock.set_offset(0);
        clock
    }

    /// Puts the program that this command starts under this clock.
    pub fn apply(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", library())
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            // Look at the file at every question; the default is once in ten seconds.
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1");
    }

    /// From now on the program's wall clock is this many seconds ahead of (negative: behind) the true one.
    pub fn set_offset(&self, seconds: i64) {
        // Renamed into place: the program never reads a half-written offset.
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}\n")).expect("write the clock's file");
        std::fs::rename(&new, &self.file).expect("put the clock's file into place");
    }
}

fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("read /usr/lib");
    folders
        .flatten()
        .map(|entry| entry.path().join(LIBRARY))
        .find(|path| path.exists())
        .expect("libfaketime is missing: run `make test`, which installs it")
}
