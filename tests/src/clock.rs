//! A wall clock that a test can move under a running program.
//!
//! Linux has no namespace for `CLOCK_REALTIME`, so a small library (`examples/moved_clock.rs`)
//! stands between the program and its C library. The monotonic clock, and with it every kernel
//! timer, stays true.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::daemon::example;

/// The clock of one program.
#[derive(Clone, Debug)]
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    /// A true clock, controlled by a file in this folder. There is one in a folder.
    pub fn new(folder: &Path) -> Clock {
        let clock = Clock { file: folder.join("clock") };
        clock.set_offset(0);
        clock
    }

    /// The clock that was made in this folder.
    pub fn at(folder: &Path) -> Clock {
        Clock { file: folder.join("clock") }
    }

    /// Puts the program that this command starts under this clock.
    pub fn apply(&self, command: &mut Command) {
        command.env("LD_PRELOAD", example("libmoved_clock.so")).env("SPA_TEST_CLOCK", &self.file);
    }

    /// From now on the program's wall clock is this many seconds ahead of (negative: behind) the
    /// true one.
    pub fn set_offset(&self, seconds: i64) {
        // In place, because programs have it mapped; eight bytes in one write.
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&self.file);
        file.expect("the clock's file")
            .write_all_at(&seconds.to_ne_bytes(), 0)
            .expect("set the clock");
    }
}
