use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::PREFIX;

/// Removes the namespaces of test processes that no longer exist, with what still runs inside.
pub fn stale() {
    let Ok(entries) = fs::read_dir("/run/netns") else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        if owner(&name).is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove(&name);
        }
    }
}

/// Kills what runs in a namespace and deletes it. Silent: another process may have swept it
/// already.
pub(super) fn remove(namespace: &str) {
    let ip = |arguments: &[&str]| {
        Command::new("ip").args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()
    };
    if let Some(output) = ip(&["netns", "pids", namespace]) {
        for pid in String::from_utf8_lossy(&output.stdout)
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
        {
            // A thread of this very process may still sit in the namespace, in a topology that
            // outlives its owner.
            if pid != std::process::id().cast_signed() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
    ip(&["netns", "delete", namespace]);
}

/// The process id in `spat-PID-NUMBER-ROLE`.
fn owner(namespace: &str) -> Option<&str> {
    let pid = namespace.strip_prefix(PREFIX)?.split('-').next()?;
    pid.bytes().all(|byte| byte.is_ascii_digit()).then_some(pid)
}
