//! Hosts made of network namespaces.

mod etc;
mod host;
mod sweep;
mod topology;

pub use etc::EtcFile;
pub use host::Host;
pub use sweep::stale as sweep;
pub use topology::{Lan, Routed, lan, routed};

use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::process;

/// What all our namespaces' names begin with; the process id and a counter follow.
pub const PREFIX: &str = "spat-";

static COUNTER: AtomicU32 = AtomicU32::new(0);
static SWEEP: Once = Once::new();

/// A set of namespaces, deleted on drop together with the processes that still run inside.
#[derive(Debug)]
pub struct Net {
    number: u32,
    hosts: Vec<Host>,
}

impl Net {
    /// An empty set with names of its own. The first one of a process removes what killed test runs
    /// left behind.
    #[expect(clippy::new_without_default, reason = "it changes the machine")]
    pub fn new() -> Net {
        SWEEP.call_once(sweep::stale);
        Net { number: COUNTER.fetch_add(1, Ordering::Relaxed), hosts: Vec::new() }
    }

    /// A new namespace with a live loopback, no duplicate address detection and no limit on ICMP
    /// errors (with a limit, a refused port would look silent now and then).
    pub fn host(&mut self, role: &str) -> Host {
        let namespace = format!("{PREFIX}{}-{}-{role}", std::process::id(), self.number);
        process::succeed(Command::new("ip").args(["netns", "add", &namespace]));
        let host = Host::new(namespace);
        self.hosts.push(host.clone());
        for (key, value) in [
            ("net/ipv6/conf/all/disable_ipv6", "0"),
            ("net/ipv6/conf/default/disable_ipv6", "0"),
            ("net/ipv6/conf/all/accept_dad", "0"),
            ("net/ipv6/conf/default/accept_dad", "0"),
            ("net/ipv6/conf/default/accept_ra", "0"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/default/rp_filter", "0"),
            ("net/ipv4/icmp_ratelimit", "0"),
            ("net/ipv6/icmp/ratelimit", "0"),
        ] {
            host.sysctl(key, value);
        }
        host.ip(&["link set lo up"]);
        host
    }

    /// A veth pair between two hosts, both ends up. Addresses come afterwards, with [`Host::ip`].
    pub fn link(&self, one: &Host, one_device: &str, other: &Host, other_device: &str) {
        process::succeed(Command::new("ip").args([
            "link",
            "add",
            one_device,
            "netns",
            one.namespace(),
            "type",
            "veth",
            "peer",
            "name",
            other_device,
            "netns",
            other.namespace(),
        ]));
        one.ip(&[&format!("link set {one_device} up")]);
        other.ip(&[&format!("link set {other_device} up")]);
    }

    /// Makes a host into a switch: a bridge over these devices that forwards at once and learns
    /// nothing from multicast.
    pub fn switch(&self, host: &Host, ports: &[&str]) {
        host.ip(&[
            "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            "link set br0 addrgenmode none",
            "link set br0 up",
        ]);
        for port in ports {
            host.ip(&[&format!("link set {port} master br0")]);
        }
    }

    /// Makes a host forward packets between its devices.
    pub fn router(&self, host: &Host) {
        host.sysctl("net/ipv4/ip_forward", "1");
        host.sysctl("net/ipv6/conf/all/forwarding", "1");
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for host in &self.hosts {
            sweep::remove(host.namespace());
        }
    }
}
