//! The real programs: the daemon, the client and the key tool, each in its host and its own folder.

mod client;
mod process;
mod server;

pub use client::{Client, Opened};
pub use process::{Daemon, Log};
pub use server::Server;

use std::path::PathBuf;
use std::sync::OnceLock;

/// Folder set by [`use_programs_of`].
static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();

/// Takes all programs of this process from another folder than the running test's profile.
pub fn use_programs_of(folder: PathBuf) {
    PROGRAMS.set(folder).expect("said once, before any program is started");
}

/// The program of this name beside the running test: `target/PROFILE/NAME`.
pub fn binary(name: &str) -> PathBuf {
    let path = PROGRAMS.get().cloned().unwrap_or_else(profile_folder).join(name);
    assert!(path.exists(), "{} is missing: run `make test`, which builds it", path.display());
    path
}

/// The example program of this package: `target/PROFILE/examples/NAME`.
pub fn example(name: &str) -> PathBuf {
    let path = profile_folder().join("examples").join(name);
    assert!(path.exists(), "{} is missing: run `make test`, which builds it", path.display());
    path
}

/// Tests run as `target/PROFILE/deps/NAME-HASH`.
pub fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this program");
    let folder = test
        .ancestors()
        .skip(1)
        .find(|folder| !folder.ends_with("deps") && !folder.ends_with("examples"));
    folder.expect("a folder above the test").to_owned()
}
