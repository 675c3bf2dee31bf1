use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::resume_unwind;
use std::path::Path;
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::{Family, process};

/// One host: a named network namespace. A clone is the same host; the [`Net`](super::Net) owns the
/// namespace.
#[derive(Clone, Debug)]
pub struct Host {
    namespace: String,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
}

impl Host {
    /// The device that leads to the others, on every host of the ready topologies.
    pub const DEVICE: &str = "eth0";

    pub(super) fn new(namespace: String) -> Host {
        Host { namespace, v4: Ipv4Addr::LOCALHOST, v6: Ipv6Addr::LOCALHOST }
    }

    /// The name that `ip netns` knows.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its address in the ready topologies; loopback elsewhere.
    pub fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.v4.into(),
            Family::V6 => self.v6.into(),
        }
    }

    /// Its address with a port.
    pub fn at(&self, family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(self.address(family), port)
    }

    /// Runs a closure in the namespace, in a thread of its own. Sockets made there stay there and
    /// may be returned.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            self.enter();
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Moves the calling thread into the namespace for the rest of its life.
    pub(crate) fn enter(&self) {
        let path = Path::new("/run/netns").join(&self.namespace);
        let file = File::open(&path)
            .unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()));
        setns(file, CloneFlags::CLONE_NEWNET)
            .unwrap_or_else(|error| panic!("cannot enter {self:?}: {error}"));
    }

    /// A program in the namespace. `ip` replaces itself by it, so the child's process id is the
    /// program's.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }

    /// Runs lines of `ip` (without the word itself) in the namespace; a line may begin with `-6`.
    pub fn ip(&self, lines: &[&str]) {
        for line in lines {
            process::succeed(
                Command::new("ip").args(["-n", &self.namespace]).args(line.split_whitespace()),
            );
        }
    }

    /// Writes `/proc/sys/KEY` of the namespace.
    pub fn sysctl(&self, key: &str, value: &str) {
        self.run(|| {
            fs::write(Path::new("/proc/sys").join(key), value)
                .unwrap_or_else(|error| panic!("cannot set {key}={value}: {error}"));
        });
    }

    /// Gives the device one more address: a host with several, or a client that moves.
    pub fn add_address(&self, address: IpAddr) {
        let (length, flags) = if address.is_ipv4() { (32, "") } else { (128, "nodad") };
        self.ip(&[&format!("address add {address}/{length} dev {} {flags}", Host::DEVICE)]);
    }

    /// The same with an address that only those use who bind to it (RFC 4862 5.5.4: deprecated).
    pub fn add_spare_address(&self, address: IpAddr) {
        let length = if address.is_ipv4() { 32 } else { 128 };
        self.ip(&[&format!(
            "address add {address}/{length} dev {} nodad preferred_lft 0",
            Host::DEVICE
        )]);
    }

    /// Sets the host's own addresses on a device, with these prefix lengths.
    pub(super) fn configure(&mut self, device: &str, v4: (Ipv4Addr, u8), v6: (Ipv6Addr, u8)) {
        (self.v4, self.v6) = (v4.0, v6.0);
        self.ip(&[
            &format!("address add {}/{} dev {device}", v4.0, v4.1),
            &format!("address add {}/{} dev {device} nodad", v6.0, v6.1),
        ]);
    }
}
