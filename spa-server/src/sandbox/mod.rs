//! Rights that a process gives up for good once it has what it needs.
//!
//! The listener reads strangers' bytes, so it keeps nothing: no capability, no way to one, no file
//! but its store's, no new socket, no other program, no signal to others. It tries each wall itself
//! and does not run when one is missing. The broker keeps `CAP_NET_ADMIN`, and makes no network
//! sockets.

mod files;
mod inherited;
mod rights;
mod syscalls;
mod verify;

use std::path::{Path, PathBuf};

pub use inherited::keep_from_programs;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use spa_keys::Failure;

use crate::log::{self, Level};

/// Descriptors that a process may have: capture `udp` binds two sockets for each of up to 256
/// ports.
const MAX_DESCRIPTORS: u64 = 2048;

/// Folders that the listener goes on using.
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
    let proof = verify::Proof::open_probes()?;
    limit_resources()?;
    let bounded = rights::drop_all(folders.written.first().map(PathBuf::as_path))?;
    prctl::set_no_new_privs().map_err(|error| missing_wall("no_new_privs", &error))?;
    // After the rights: a change of them clears both.
    prctl::set_dumpable(false).map_err(|error| missing_wall("protection from tracing", &error))?;
    prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|error| missing_wall("the end with the broker", &error))?;
    let walled =
        files::restrict_files(folders).map_err(|error| missing_wall("landlock", &error))?;
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
    syscalls::restrict_listener().map_err(|error| missing_wall("seccomp", &error))?;
    proof.verify_listener(walled, bounded, config)
}

/// Takes from the broker what it does not need any more. `binds`: it makes sockets for capture
/// `udp`.
///
/// # Errors
/// A wall that is missing.
pub fn broker(binds: bool) -> Result<(), Failure> {
    limit_resources()?;
    rights::keep_broker(binds)?;
    prctl::set_no_new_privs().map_err(|error| missing_wall("no_new_privs", &error))?;
    prctl::set_dumpable(false).map_err(|error| missing_wall("protection from tracing", &error))?;
    syscalls::restrict_broker(binds).map_err(|error| missing_wall("seccomp", &error))
}

/// Takes from the runner all but what it needs to become other users.
///
/// # Errors
/// A wall that is missing.
pub fn runner() -> Result<(), Failure> {
    limit_resources()?;
    rights::keep_runner()?;
    prctl::set_no_new_privs().map_err(|error| missing_wall("no_new_privs", &error))?;
    prctl::set_dumpable(false).map_err(|error| missing_wall("protection from tracing", &error))
}

/// Leaves the process that watches over an enforcer, and that of a program of the administrator's,
/// what such a program may need: the firewall, and packets of its own.
///
/// # Errors
/// A wall that is missing.
pub fn enforcer() -> Result<(), Failure> {
    limit_resources()?;
    rights::keep_for_programs()?;
    prctl::set_no_new_privs().map_err(|error| missing_wall("no_new_privs", &error))?;
    prctl::set_dumpable(false).map_err(|error| missing_wall("protection from tracing", &error))?;
    prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|error| missing_wall("the end with the broker", &error))
}

fn limit_resources() -> Result<(), Failure> {
    let (_, hard) = nix::sys::resource::getrlimit(Resource::RLIMIT_NOFILE)
        .map_err(|error| missing_wall("RLIMIT_NOFILE", &error))?;
    let most = MAX_DESCRIPTORS.min(hard);
    setrlimit(Resource::RLIMIT_NOFILE, most, most)
        .map_err(|error| missing_wall("RLIMIT_NOFILE", &error))?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|error| missing_wall("RLIMIT_CORE", &error))
}

fn missing_wall(wall: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::failed(format!(
        "the sandbox is incomplete: {wall}: {error}; the server does not run without it: see \
        \"Log lines of the sandbox\" in docs/sandbox.md"
    ))
}
