//! Ports where ssh sessions come in: those of processes called sshd, or else those at which systemd
//! listens for an ssh server (systemd.socket(5)), and those that sshd(8) would take.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::owners::Owners;
use super::session::Asks;
use crate::domain::ports::Protocol;
use crate::sockets::{Socket, SocketState};

/// Where sshd listens when nothing else is known (IANA).
pub(super) const SSH_PORT: u16 = 22;

/// Folders of units, the first in force (systemd.unit(5)).
const UNIT_FOLDERS: [&str; 6] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Places of sshd(8).
const SSHD_PROGRAMS: [&str; 3] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"];

/// Where ssh sessions come in: where this one did, and wherever a process called sshd listens.
pub(super) fn find_ssh_ports(sockets: &[Socket], owners: &Owners, asks: &Asks) -> Vec<u16> {
    let listens = |s: &&Socket| {
        s.protocol == Protocol::Tcp
            && s.state == SocketState::Listening
            && !s.local.ip().is_loopback()
    };
    let listening: Vec<&Socket> = sockets.iter().filter(listens).collect();
    let sshd = |s: &&&Socket| owners.name_of(s.inode).is_some_and(|name| name.starts_with("sshd"));
    let mut ports: Vec<u16> = listening.iter().filter(sshd).map(|s| s.local.port()).collect();
    if ports.is_empty() {
        let units = read_socket_units();
        let by_unit = listening.iter().map(|s| s.local.port()).filter(|port| units.contains(port));
        ports.extend(by_unit);
    }
    match asks {
        Asks::Session { local, .. } => ports.push(local.port()),
        // Other users' processes have no names here: then the usual port stands for ssh.
        _ if ports.is_empty() && listening.iter().any(|s| s.local.port() == SSH_PORT) => {
            ports.push(SSH_PORT)
        }
        _ => {}
    }
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// TCP ports of every socket unit that starts an ssh server, whether or not it is enabled.
fn read_socket_units() -> BTreeSet<u16> {
    let mut ports = BTreeSet::new();
    for folder in UNIT_FOLDERS {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let unit = name.strip_suffix(".d").unwrap_or(&name);
            let Some(stem) = unit.strip_suffix(".socket") else { continue };
            let texts = read_texts(&entry.path());
            if is_ssh(stem) || texts.iter().any(|text| starts_ssh(text)) {
                ports.extend(texts.iter().flat_map(|text| parse_streams(text)));
            }
        }
    }
    ports
}

/// Content of a unit, or of the drop-ins in its folder.
fn read_texts(path: &Path) -> Vec<String> {
    if !path.is_dir() {
        return fs::read_to_string(path).into_iter().collect();
    }
    let files = fs::read_dir(path).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_to_string(file.path()).ok()).collect()
}

/// Returns true for the name of an ssh server's unit: `ssh`, `sshd`, `ssh@`, `sshd-unix-local`.
fn is_ssh(stem: &str) -> bool {
    let first = stem.split(['@', '-', '.']).next().unwrap_or_default();
    matches!(first, "ssh" | "sshd" | "dropbear")
}

fn starts_ssh(text: &str) -> bool {
    values(text, "Service").any(is_ssh)
}

/// Ports of `ListenStream=`: `22`, `0.0.0.0:22`, `[::]:22`.
fn parse_streams(text: &str) -> Vec<u16> {
    let port = |value: &str| value.rsplit(':').next().and_then(|port| port.parse().ok());
    values(text, "ListenStream").filter_map(port).filter(|port| *port != 0).collect()
}

fn values<'t>(text: &'t str, key: &'t str) -> impl Iterator<Item = &'t str> {
    text.lines().filter_map(move |line| {
        let (name, value) = line.trim().split_once('=')?;
        (name.trim() == key).then(|| value.trim())
    })
}

/// Ports of sshd's own configuration, as it says itself; none without an sshd or a right to ask.
pub(super) fn ask_sshd() -> Vec<u16> {
    let Some(program) = SSHD_PROGRAMS.iter().find(|program| Path::new(program).exists()) else {
        return Vec::new();
    };
    let asked = Command::new(program).arg("-T").stdin(Stdio::null()).stderr(Stdio::null()).output();
    let text = asked.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().filter_map(|line| line.strip_prefix("port ")?.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::{is_ssh, parse_streams, starts_ssh};

    #[test]
    fn units_of_ssh() {
        for (stem, is) in [
            ("ssh", true),
            ("sshd", true),
            ("sshd@", true),
            ("sshd-unix-local", true),
            ("sshguard", false),
            ("cups", false),
        ] {
            assert_eq!(is_ssh(stem), is, "{stem}");
        }
        assert!(starts_ssh("[Socket]\nListenStream=2222\nService = ssh.service\n"));
        assert!(!starts_ssh("[Socket]\nService=cups.service\n"));
        let text = "[Socket]\nListenStream=\nListenStream=0.0.0.0:2222\nListenStream = [::]:2223\n\
                    ListenStream=22\nListenStream=/run/x\n# ListenStream=1\nListenDatagram=5\n";
        assert_eq!(parse_streams(text), [2222, 2223, 22]);
    }
}
