//! Whose socket it is: the process that holds its inode (proc_pid_fd(5)).

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fs;

use spa_keys::printable;

/// Names of socket holders, looked up once and only when somebody asks.
#[derive(Default)]
pub(super) struct Owners(OnceCell<HashMap<u64, String>>);

impl Owners {
    /// `sshd (812)`. `None`: no process of ours, and other users' are shown to root only.
    pub(super) fn name_of(&self, inode: u64) -> Option<&str> {
        self.0.get_or_init(all).get(&inode).map(String::as_str)
    }

    /// For a sentence.
    pub(super) fn describe_owner(&self, inode: u64) -> &str {
        self.name_of(inode).unwrap_or("some process (only root is told which)")
    }
}

fn all() -> HashMap<u64, String> {
    let mut found = HashMap::new();
    let mut processes: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    // Of several that share a socket, the oldest is the one an operator knows.
    processes.sort_unstable();
    for process in processes {
        let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else { continue };
        let inodes = files.filter_map(|file| {
            let target = fs::read_link(file.ok()?.path()).ok()?;
            target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
        });
        for inode in inodes {
            found.entry(inode).or_insert_with(|| {
                let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
                format!("{} ({process})", printable(name.trim()))
            });
        }
    }
    found
}
