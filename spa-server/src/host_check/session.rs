//! The ssh session in which this command was started.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use crate::domain::ports::Protocol;
use crate::sockets::{Socket, SocketState};

/// Variable that sshd sets for the programs of a session (ssh(1), ENVIRONMENT): `client port server
/// port`.
const SESSION_VARIABLE: &str = "SSH_CONNECTION";
/// Parents asked at most.
const MAX_PARENTS: usize = 64;

/// Findings about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// A live connection.
    Session { peer: SocketAddr, local: SocketAddr },
    /// A connection is named that is no more: of a terminal multiplexer that outlived it.
    Gone(SocketAddr),
    /// No parent knows of any.
    None,
    /// A parent may know and cannot be asked.
    Hidden(u32),
}

/// Looks in this process's environment and in those of its parents: sudo takes the variable away.
pub(super) fn find_session(sockets: &[Socket]) -> Asks {
    let mut hidden = None;
    let own = std::env::var(SESSION_VARIABLE).ok().and_then(|value| parse_connection(&value));
    let (peer, local) = match own.or_else(|| of_parents(&mut hidden)) {
        Some(ends) => ends,
        None => return hidden.map_or(Asks::None, Asks::Hidden),
    };
    let live = |s: &&Socket| {
        s.protocol == Protocol::Tcp
            && s.state == SocketState::Connected
            && s.remote == peer
            && s.local == local
    };
    if sockets.iter().any(|s| live(&s)) { Asks::Session { peer, local } } else { Asks::Gone(peer) }
}

/// The two ends of the ssh connection that this command runs in, as one word; none outside of ssh.
/// Whether it still lives is not looked at.
pub(super) fn session_name() -> Option<String> {
    let own = std::env::var(SESSION_VARIABLE).ok().and_then(|value| parse_connection(&value));
    let (peer, local) = own.or_else(|| of_parents(&mut None))?;
    Some(format!("{peer}-{local}"))
}

fn of_parents(hidden: &mut Option<u32>) -> Option<(SocketAddr, SocketAddr)> {
    let mut process = nix::unistd::getppid().as_raw().cast_unsigned();
    for _ in 0..MAX_PARENTS {
        if process <= 1 {
            return None;
        }
        match fs::read(format!("/proc/{process}/environ")) {
            Ok(environment) => {
                let found = environment.split(|byte| *byte == 0).find_map(|variable| {
                    let (name, value) = std::str::from_utf8(variable).ok()?.split_once('=')?;
                    (name == SESSION_VARIABLE).then(|| parse_connection(value)).flatten()
                });
                if found.is_some() {
                    return found;
                }
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                hidden.get_or_insert(process);
            }
            Err(_) => {}
        }
        process = find_parent(process)?;
    }
    None
}

/// proc_pid_stat(5): `pid (name) state ppid …`; the name may hold anything, brackets too.
fn find_parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn parse_connection(value: &str) -> Option<(SocketAddr, SocketAddr)> {
    let mut words = value.split_ascii_whitespace();
    let mut end = || {
        // A link-local address brings its interface: `fe80::1%eth0`.
        let address: IpAddr = words.next()?.split('%').next()?.parse().ok()?;
        Some(SocketAddr::new(address.to_canonical(), words.next()?.parse().ok()?))
    };
    Some((end()?, end()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_families() {
        let ends = parse_connection("198.51.100.7 50000 192.0.2.1 22").unwrap();
        assert_eq!(ends, ("198.51.100.7:50000".parse().unwrap(), "192.0.2.1:22".parse().unwrap()));
        let ends = parse_connection("2001:db8::7 50000 2001:db8::1 2222").unwrap();
        assert_eq!(
            ends,
            ("[2001:db8::7]:50000".parse().unwrap(), "[2001:db8::1]:2222".parse().unwrap())
        );
        assert_eq!(
            parse_connection("fe80::7%eth0 1 fe80::1%eth0 22").unwrap().1,
            "[fe80::1]:22".parse().unwrap()
        );
        assert_eq!(
            parse_connection("::ffff:192.0.2.7 1 ::ffff:192.0.2.1 22").unwrap().0,
            "192.0.2.7:1".parse().unwrap()
        );
        for wrong in ["", "192.0.2.1", "192.0.2.1 22 here 22", "192.0.2.1 99999 192.0.2.1 22"] {
            assert_eq!(parse_connection(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn parents_lead_to_the_first_process() {
        let mut process = std::process::id();
        for _ in 0..MAX_PARENTS {
            match find_parent(process) {
                Some(0 | 1) => return,
                Some(next) => process = next,
                None => break,
            }
        }
        // A process of another namespace has no parent that is seen from here: 0.
        assert_eq!(find_parent(process), Some(0));
    }
}
