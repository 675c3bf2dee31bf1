//! What a process gives up for good once it has what it needs.
//!
//! The listener reads strangers' bytes, so it keeps nothing: no capability, no way to one, no file
//! but its store's, no new socket, no other program, no signal to others. It tries each wall itself
//! and does not run when one is missing. The broker keeps `CAP_NET_ADMIN`, and makes no network
//! sockets.

mod files;
mod rights;
mod syscalls;
mod verify;

use std::path::{Path, PathBuf};

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use spa_keys::Failure;

use crate::log::{self, Level};

/// Descriptors that a process may have: capture `udp` binds two sockets for each of up to 256
/// ports.
const DESCRIPTORS: u64 = 2048;

/// What the listener goes on to use of the file system.
#[derive(Debug, Default)]
pub struct Folders {
    /// Folders in which it makes, writes and removes files.
    pub written: Vec<PathBuf>,
}

/// Takes everything from the listener, on the only thread that it has yet. `config` is a file that
/// it must not be able to open any more.
///
/// # Errors
/// A wall that is missing, and what to do about it.
pub fn listener(folders: &Folders, config: &Path) -> Result<(), Failure> {
    let proof = verify::Proof::begin()?;
    limits()?;
    let bounded = rights::drop_all(folders.written.first().map(PathBuf::as_path))?;
    prctl::set_no_new_privs().map_err(|error| missing("no_new_privs", &error))?;
    // After the rights: a change of them clears both.
    prctl::set_dumpable(false).map_err(|error| missing("protection from tracing", &error))?;
    prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|error| missing("the end with the broker", &error))?;
    let walled = files::restrict(folders).map_err(|error| missing("landlock", &error))?;
    if !walled {
        log::event(Level::Warn, "no-landlock")
            .with("missing", "this kernel cannot keep a process away from files")
            .with(
                "do",
                "use a kernel with CONFIG_SECURITY_LANDLOCK (5.13 or later), and \
                \"landlock\" in its lsm= list",
            )
            .emit();
    }
    syscalls::listener().map_err(|error| missing("seccomp", &error))?;
    proof.listener(walled, bounded, config)
}

/// Takes from the broker what it does not need any more. `binds`: it makes sockets for capture
/// `udp`.
///
/// # Errors
/// A wall that is missing.
pub fn broker(binds: bool) -> Result<(), Failure> {
    limits()?;
    rights::keep_broker(binds)?;
    prctl::set_no_new_privs().map_err(|error| missing("no_new_privs", &error))?;
    prctl::set_dumpable(false).map_err(|error| missing("protection from tracing", &error))?;
    syscalls::broker(binds).map_err(|error| missing("seccomp", &error))
}

/// Takes from the runner all but what it needs to become other users.
///
/// # Errors
/// A wall that is missing.
pub fn runner() -> Result<(), Failure> {
    limits()?;
    rights::keep_runner()?;
    prctl::set_no_new_privs().map_err(|error| missing("no_new_privs", &error))?;
    prctl::set_dumpable(false).map_err(|error| missing("protection from tracing", &error))
}

fn limits() -> Result<(), Failure> {
    let (_, hard) = nix::sys::resource::getrlimit(Resource::RLIMIT_NOFILE)
        .map_err(|error| missing("RLIMIT_NOFILE", &error))?;
    let most = DESCRIPTORS.min(hard);
    setrlimit(Resource::RLIMIT_NOFILE, most, most)
        .map_err(|error| missing("RLIMIT_NOFILE", &error))?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|error| missing("RLIMIT_CORE", &error))
}

fn missing(wall: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::failed(format!(
        "the sandbox is not whole, {wall}: {error}; the server does not run without it: see \
         \"Log lines of the sandbox\" in docs/sandbox.md"
    ))
}
