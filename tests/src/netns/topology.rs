//! The two networks that the tests live in.
//!
//! Addresses are from the documentation ranges (RFC 5737, RFC 3849), which our programs take for
//! public ones. Every host has a /24 and a /64 of its own, so a ban of a stranger's /64 does not
//! cover the client.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::{Host, Net};
use crate::probe::{self, TcpProbe};
use crate::{Family, wait_until};

const SERVER: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 0, 2, 1), Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1));
const CLIENT: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(198, 51, 100, 10), Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 0x10));
const STRANGER: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(203, 0, 113, 66), Ipv6Addr::new(0x2001, 0xdb8, 0x5, 0, 0, 0, 0, 0x66));

/// Three hosts on one switch; each takes every address to be on the link, so anyone can send in
/// anyone's name.
#[derive(Debug)]
pub struct Lan {
    /// 198.51.100.10, 2001:db8:c::10
    pub client: Host,
    /// 192.0.2.1, 2001:db8:1::1
    pub server: Host,
    /// 203.0.113.66, 2001:db8:5::66
    pub stranger: Host,
    /// The switch itself, without addresses.
    pub switch: Host,
    /// Owner of the namespaces, to add more hosts.
    pub net: Net,
}

impl Lan {
    /// One more host on the switch, with an address of each family in the server's networks.
    pub fn add_host(&mut self, role: &str, last_byte: u8) -> Host {
        let mut host = self.net.host(role);
        let port = format!("p-{role}");
        self.net.link(&host, Host::DEVICE, &self.switch, &port);
        let (v4, v6) = SERVER;
        let [a, b, c, _] = v4.octets();
        let mut segments = v6.segments();
        segments[7] = last_byte.into();
        host.configure(
            Host::DEVICE,
            (Ipv4Addr::new(a, b, c, last_byte), 24),
            (Ipv6Addr::from(segments), 64),
        );
        host.ip(&[
            &format!("route add default dev {}", Host::DEVICE),
            &format!("-6 route add default dev {}", Host::DEVICE),
        ]);
        self.switch.ip(&[&format!("link set {port} master br0")]);
        await_path(&self.stranger, &host);
        host
    }
}

/// Makes a [`Lan`] and waits until both families reach the server.
pub fn lan() -> Lan {
    let mut net = Net::new();
    let switch = net.host("switch");
    let mut host = |role: &str, port: &str, (v4, v6): (Ipv4Addr, Ipv6Addr)| {
        let mut host = net.host(role);
        net.link(&host, Host::DEVICE, &switch, port);
        host.configure(Host::DEVICE, (v4, 24), (v6, 64));
        host.ip(&[
            &format!("route add default dev {}", Host::DEVICE),
            &format!("-6 route add default dev {}", Host::DEVICE),
        ]);
        host
    };
    let client = host("client", "p0", CLIENT);
    let server = host("server", "p1", SERVER);
    let stranger = host("stranger", "p2", STRANGER);
    net.switch(&switch, &["p0", "p1", "p2"]);
    let lan = Lan { client, server, stranger, switch, net };
    await_path(&lan.client, &lan.server);
    await_path(&lan.stranger, &lan.server);
    lan
}

/// Client and stranger, each on a link of its own to a router, and the server behind it.
#[derive(Debug)]
pub struct Routed {
    /// 198.51.100.10, 2001:db8:c::10, behind the router's `client` device
    pub client: Host,
    /// 192.0.2.1, 2001:db8:1::1, behind the router's `server` device
    pub server: Host,
    /// 203.0.113.66, 2001:db8:5::66, behind the router's `stranger` device
    pub stranger: Host,
    /// The router; its own addresses end in 254 and in fe.
    pub router: Host,
    /// Owner of the namespaces, to add more hosts.
    pub net: Net,
}

/// Makes a [`Routed`] network and waits until both families reach the server.
pub fn routed() -> Routed {
    let mut net = Net::new();
    let mut router = net.host("router");
    net.router(&router);
    let mut host = |role: &str, (v4, v6): (Ipv4Addr, Ipv6Addr)| {
        let mut host = net.host(role);
        net.link(&host, Host::DEVICE, &router, role);
        let mut gateway4 = v4.octets();
        gateway4[3] = 254;
        let mut gateway6 = v6.segments();
        gateway6[7] = 0xfe;
        let (gateway4, gateway6) = (Ipv4Addr::from(gateway4), Ipv6Addr::from(gateway6));
        router.configure(role, (gateway4, 24), (gateway6, 64));
        host.configure(Host::DEVICE, (v4, 24), (v6, 64));
        host.ip(&[
            &format!("route add default via {gateway4}"),
            &format!("-6 route add default via {gateway6}"),
        ]);
        host
    };
    let client = host("client", CLIENT);
    let stranger = host("stranger", STRANGER);
    let server = host("server", SERVER);
    let routed = Routed { client, server, stranger, router, net };
    await_path(&routed.client, &routed.server);
    await_path(&routed.stranger, &routed.server);
    routed
}

/// Until a closed port of the server answers by refusing: links are up and neighbours know each
/// other.
fn await_path(from: &Host, to: &Host) {
    for family in Family::BOTH {
        let target = to.at(family, 1);
        let reached = wait_until(Duration::from_secs(10), || {
            probe::tcp(from, target, Duration::from_millis(200)) == TcpProbe::Refused
        });
        assert!(reached, "{from:?} does not reach {target}");
    }
}
