//! The listener tries its walls itself.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use nix::sys::signal::kill;
use nix::unistd::getppid;
use socket2::{Domain, Socket, Type};
use spa_keys::Failure;

use super::missing_wall;

/// Address family of routing and firewall sockets.
const NETLINK_FAMILY: i32 = libc::AF_NETLINK;

/// Opened while it can be.
pub(super) struct Proof {
    /// proc_pid_status(5), made anew by the kernel when it is read.
    status: File,
}

impl Proof {
    /// Opens the files that show the state of the process, before landlock forbids it.
    pub(super) fn open_probes() -> Result<Self, Failure> {
        let status = File::open("/proc/self/status")
            .map_err(|error| missing_wall("/proc/self/status", &error))?;
        Ok(Self { status })
    }

    /// Every wall of the listener. `walled`: landlock is there; `bounded`: the bounding set could
    /// be emptied.
    pub(super) fn verify_listener(
        mut self,
        walled: bool,
        bounded: bool,
        config: &Path,
    ) -> Result<(), Failure> {
        let mut text = String::new();
        self.status
            .read_to_string(&mut text)
            .map_err(|error| missing_wall("/proc/self/status", &error))?;
        let mut sets = vec!["CapInh", "CapPrm", "CapEff", "CapAmb"];
        sets.extend(bounded.then_some("CapBnd"));
        for set in sets {
            let value = status_field(&text, set);
            if value.is_none_or(|value| !value.bytes().all(|b| b == b'0')) {
                return Err(missing_wall(set, &value.unwrap_or("unknown")));
            }
        }
        // SECCOMP_MODE_FILTER is 2.
        for (name, wanted) in [("NoNewPrivs", "1"), ("Seccomp", "2")] {
            let value = status_field(&text, name);
            if value != Some(wanted) {
                return Err(missing_wall(name, &value.unwrap_or("unknown")));
            }
        }
        for domain in
            [Domain::IPV4, Domain::IPV6, Domain::PACKET, Domain::UNIX, Domain::from(NETLINK_FAMILY)]
        {
            expect_refusal("a new socket", Socket::new(domain, Type::DGRAM, None))?;
        }
        if walled {
            for path in [Path::new("/"), Path::new("/proc/self/status"), config] {
                expect_refusal("files", File::open(path))?;
            }
        }
        expect_refusal("signals to the broker", kill(getppid(), None).map_err(std::io::Error::from))
    }
}

fn status_field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn expect_refusal<T>(what: &str, tried: std::io::Result<T>) -> Result<(), Failure> {
    match tried {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(missing_wall(what, &error)),
        Ok(_) => Err(missing_wall(what, &"it is still possible")),
    }
}
