//! `spa-server uninstall-check`: what of ours is still on this host.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use clap::Args;
use nix::unistd::{Group, Uid, User};
use serde::Serialize;
use spa_keys::{Failure, exit, note};

use super::table::{count, table};
use super::{ConfigArg, output};
use crate::config::paths::broker_folder;
use crate::config::{self, surroundings};
use crate::firewall::nftables::Nftables;

/// List what of spa is still on this host, and how to remove it
#[derive(Debug, Args)]
#[command(
    after_help = "Changes nothing. The exit code is 0 when nothing is left, 1 when something \
        is,\nand 77 when not all of it could be looked at.\n\n\
        Example:\n  spa-server uninstall-check"
)]
pub(super) struct UninstallCheckArgs {
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

/// Something of ours on this host.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Remnant {
    kind: &'static str,
    /// Path or name.
    what: String,
    /// Shell command that removes it.
    remove: String,
}

/// All that was found, and what could not be looked at.
#[derive(Debug, Default, Serialize)]
struct Remnants {
    version: u8,
    found: Vec<Remnant>,
    unknown: Vec<String>,
}

/// Prefixes that `make install` and packages install below.
const PREFIXES: [&str; 2] = ["/usr/local", "/usr"];
/// Files below a prefix, each with its kind.
const INSTALLED: [(&str, &str); 18] = [
    ("program", "bin/spa"),
    ("program", "bin/spa-client"),
    ("program", "sbin/spa-server"),
    ("manual page", "share/man/man1/spa.1"),
    ("manual page", "share/man/man1/spa-client.1"),
    ("manual page", "share/man/man5/spa-server.toml.5"),
    ("manual page", "share/man/man8/spa-server.8"),
    ("completion", "share/bash-completion/completions/spa"),
    ("completion", "share/bash-completion/completions/spa-client"),
    ("completion", "share/bash-completion/completions/spa-server"),
    ("completion", "share/zsh/site-functions/_spa"),
    ("completion", "share/zsh/site-functions/_spa-client"),
    ("completion", "share/zsh/site-functions/_spa-server"),
    ("completion", "share/fish/vendor_completions.d/spa.fish"),
    ("completion", "share/fish/vendor_completions.d/spa-client.fish"),
    ("completion", "share/fish/vendor_completions.d/spa-server.fish"),
    ("documentation", "share/doc/spa"),
    ("documentation", "share/doc/spa-server"),
];
/// Folders that may have what systemd reads; the first belongs to the administrator.
const SYSTEMD_FOLDERS: [&str; 3] = ["/etc", "/run", "/usr/lib"];
/// Names that may be in them.
const SYSTEMD_FILES: [(&str, &str); 5] = [
    ("unit", "systemd/system/spa-server.service"),
    ("unit", "systemd/system/spa-server.service.d"),
    ("unit", "systemd/system/multi-user.target.wants/spa-server.service"),
    ("sysusers", "sysusers.d/spa.conf"),
    ("tmpfiles", "tmpfiles.d/spa.conf"),
];
/// Name of the user and the group that the unit runs as.
const SERVICE_USER: &str = "spa";
/// Program that ssh settings of ours name.
const CLIENT: &str = "spa-client";
/// Table of ours in the kernel.
const TABLE: &str = "inet spa";

impl UninstallCheckArgs {
    /// Looks everywhere that an installation writes to, and prints what is there.
    ///
    /// # Errors
    /// Exit code 1 when something is there, 77 when not all could be looked at.
    pub(super) fn run(self) -> Result<(), Failure> {
        let remnants = self.look();
        if self.json {
            let json = serde_json::to_string(&remnants)
                .map_err(|error| Failure::failed(error.to_string()))?;
            output::answer(&(json + "\n"))?;
        } else if !remnants.found.is_empty() {
            let row = |Remnant { kind, what, remove }: &Remnant| {
                vec![(*kind).to_owned(), what.clone(), remove.clone()]
            };
            let rows: Vec<Vec<String>> = remnants.found.iter().map(row).collect();
            output::answer(&table(&["KIND", "WHAT", "REMOVE WITH"], &rows))?;
        } else if remnants.unknown.is_empty() {
            output::answer("nothing of spa is on this host\n")?;
        }
        remnants.into_outcome()
    }

    fn look(&self) -> Remnants {
        let mut remnants = Remnants { version: 1, ..Remnants::default() };
        remnants.look_at_kernel();
        remnants.look_at_processes();
        for file in SYSTEMD_FOLDERS.iter().flat_map(|folder| {
            SYSTEMD_FILES.map(|(kind, name)| (kind, Path::new(folder).join(name)))
        }) {
            remnants.look_at_file(file.0, &file.1);
        }
        for prefix in PREFIXES {
            for (kind, name) in INSTALLED {
                remnants.look_at_file(kind, &Path::new(prefix).join(name));
            }
        }
        for (kind, path) in self.folders() {
            remnants.look_at_file(kind, &path);
        }
        remnants.look_at_users();
        remnants.look_at_homes();
        remnants
    }

    /// Folders of the daemon: the usual ones, and those that the configuration names.
    fn folders(&self) -> Vec<(&'static str, PathBuf)> {
        let usual = [
            ("configuration and keys", "/etc/spa"),
            ("state", "/var/lib/spa"),
            ("state", "/var/lib/spa-broker"),
            ("runtime", "/run/spa"),
        ];
        let mut folders: Vec<(&str, PathBuf)> =
            usual.map(|(kind, path)| (kind, PathBuf::from(path))).into();
        let state = config::state_folder(&self.config.config, &surroundings(true));
        for (kind, path) in [
            ("configuration and keys", self.config.config.clone()),
            ("state", broker_folder(&state)),
            ("state", state),
            ("runtime", config::control_socket(&self.config.config, &surroundings(true))),
        ] {
            if !folders.iter().any(|(_, folder)| path.starts_with(folder)) {
                folders.push((kind, path));
            }
        }
        folders
    }
}

impl Remnants {
    fn look_at_kernel(&mut self) {
        match Nftables::new().and_then(|mut nft| nft.is_installed()) {
            Ok(false) => {}
            Ok(true) => {
                self.add("rules", format!("table {TABLE}"), format!("nft delete table {TABLE}"));
            }
            Err(error) => self.unknown.push(format!("the rules in the kernel: {error}")),
        }
    }

    /// Servers in the network namespace of this process.
    fn look_at_processes(&mut self) {
        let namespace = fs::read_link("/proc/self/ns/net").ok();
        let processes = match fs::read_dir("/proc") {
            Ok(processes) => processes.flatten(),
            Err(error) => return self.unknown.push(format!("processes, in /proc: {error}")),
        };
        let mut found: Vec<u32> = processes
            .filter(|entry| {
                let folder = entry.path();
                fs::read_to_string(folder.join("comm")).is_ok_and(|name| name == "spa-server\n")
                    && fs::read_link(folder.join("ns/net")).ok() == namespace
            })
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|process| *process != std::process::id())
            .collect();
        found.sort_unstable();
        for process in found {
            self.add(
                "process",
                process.to_string(),
                "systemctl disable --now spa-server".to_owned(),
            );
        }
    }

    fn look_at_file(&mut self, kind: &'static str, path: &Path) {
        let (shown, remove) = match path.symlink_metadata() {
            Err(error) if is_absence(&error) => return,
            Err(error) => return self.unknown.push(format!("{}: {error}", path.display())),
            Ok(meta) if meta.is_dir() => (path.display(), "rm -r"),
            Ok(_) => (path.display(), "rm"),
        };
        self.add(kind, shown.to_string(), format!("{remove} {shown}"));
    }

    fn look_at_users(&mut self) {
        match (User::from_name(SERVICE_USER), Group::from_name(SERVICE_USER)) {
            (Ok(Some(_)), _) => {
                self.add("user", SERVICE_USER.to_owned(), format!("userdel {SERVICE_USER}"));
            }
            (_, Ok(Some(_))) => {
                self.add("group", SERVICE_USER.to_owned(), format!("groupdel {SERVICE_USER}"));
            }
            (Err(error), _) | (_, Err(error)) => {
                self.unknown.push(format!("user and group {SERVICE_USER}: {error}"));
            }
            (Ok(None), Ok(None)) => {}
        }
    }

    /// Keys and ssh settings of those who use the client here: of everybody for root, else of the
    /// caller.
    fn look_at_homes(&mut self) {
        let own = Uid::effective();
        let users = match fs::read_to_string("/etc/passwd") {
            Ok(users) => users,
            Err(error) => return self.unknown.push(format!("users, in /etc/passwd: {error}")),
        };
        let homes = users.lines().filter_map(|line| {
            let mut fields = line.split(':').skip(2);
            let uid: u32 = fields.next()?.parse().ok()?;
            let home = fields.nth(2).filter(|home| home.len() > 1)?;
            (own.is_root() || own.as_raw() == uid).then(|| PathBuf::from(home))
        });
        let mut homes: Vec<PathBuf> = homes.collect();
        homes.sort();
        homes.dedup();
        for home in homes {
            self.look_at_file("client's keys", &home.join(".config/spa"));
            let ssh = home.join(".ssh/config");
            let shown = ssh.display().to_string();
            match fs::read(&ssh) {
                Ok(text) if text.windows(CLIENT.len()).any(|part| part == CLIENT.as_bytes()) => {
                    let edit = format!("sensible-editor {shown}   # the lines with {CLIENT}");
                    self.add("ssh settings", shown, edit);
                }
                Ok(_) => {}
                Err(error) if is_absence(&error) => {}
                Err(error) => self.unknown.push(format!("{shown}: {error}")),
            }
        }
    }

    fn add(&mut self, kind: &'static str, what: String, remove: String) {
        self.found.push(Remnant { kind, what, remove });
    }

    fn into_outcome(self) -> Result<(), Failure> {
        for what in &self.unknown {
            note!("not looked at: {what}");
        }
        if !self.found.is_empty() {
            let left = count(self.found.len(), "thing");
            return Err(Failure::failed(format!("{left} of spa on this host")));
        }
        if !self.unknown.is_empty() {
            let failure = Failure::new(exit::PERMISSION, "nothing was found, but not all was seen");
            return Err(failure.remedy("sudo spa-server uninstall-check"));
        }
        Ok(())
    }
}

/// Returns true if nothing is there; any other error leaves it unknown.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_looked_at_is_not_absent() {
        let folder = std::env::temp_dir().join(format!("spa-uninstall-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let looped = folder.join("loop");
        std::os::unix::fs::symlink(&looped, &looped).unwrap();
        let mut remnants = Remnants::default();
        remnants.look_at_file("unit", &looped.join("a"));
        assert_eq!((remnants.found.len(), remnants.unknown.len()), (0, 1));
        remnants.look_at_file("unit", &folder.join("nothing"));
        remnants.look_at_file("unit", &looped);
        assert_eq!((remnants.found.len(), remnants.unknown.len()), (1, 1));
        fs::remove_dir_all(&folder).unwrap();
        assert!(remnants.into_outcome().is_err());
    }
}
