//! The walls between broker and listener, tried from inside the running processes, and what is left
//! when one of them dies.

mod apart;
mod death;
mod grants;
mod inside;
mod reload;

use std::fs;

/// A line of `/proc/PID/status` (proc_pid_status(5)), or of one of its threads.
fn status(path: &str, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{path}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {field} in {text}")).trim().to_owned()
}

/// Numbers of the threads of a process.
fn threads(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// Whether a process is there and no zombie.
fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
