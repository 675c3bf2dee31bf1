//! Addresses that this host cannot do without: its gateways and its resolvers. One packet forged in
//! their name at a bait must not cut the host off, so no ban holds for them.

use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Routes, IPv4 and IPv6 (proc_pid_net(5)).
const ROUTE_FILES: [&str; 2] = ["/proc/thread-self/net/route", "/proc/thread-self/net/ipv6_route"];
/// Resolvers of programs, and those that systemd-resolved asks for them.
const RESOLVER_FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
/// Most that is read of a file, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Most of them that are taken from the files.
const MAX_PEERS: usize = 64;

/// Reads them, ascending. A file that is not there names none.
pub(super) fn read_host_peers() -> Vec<IpNet> {
    let read = |path: &str| {
        let mut bytes = Vec::new();
        let file = File::open(path).map(|file| file.take(MAX_FILE_BYTES));
        // What is no text names nobody, and a whole routing table of the internet is not read.
        let _read = file.and_then(|mut file| file.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let [routes_v4, routes_v6] = ROUTE_FILES.map(read);
    let mut peers: Vec<IpNet> = find_gateways_v4(&routes_v4)
        .chain(find_gateways_v6(&routes_v6))
        .chain(RESOLVER_FILES.map(read).iter().flat_map(|text| find_resolvers(text)))
        .filter(|peer| !peer.is_loopback() && !peer.is_unspecified())
        .map(IpNet::from)
        .take(MAX_PEERS)
        .collect();
    peers.sort();
    peers.dedup();
    peers
}

/// Gateways of the default routes: `interface destination gateway flags …`, addresses as numbers in
/// the order of the machine.
fn find_gateways_v4(routes: &str) -> impl Iterator<Item = IpAddr> {
    routes.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (destination, gateway) = (words.next()?, words.next()?);
        let gateway = u32::from_str_radix(gateway, 16).ok()?.to_ne_bytes();
        (destination == "00000000").then(|| Ipv4Addr::from(gateway).into())
    })
}

/// The same for IPv6: `destination length source length gateway …`.
fn find_gateways_v6(routes: &str) -> impl Iterator<Item = IpAddr> {
    routes.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let length = words.nth(1)?;
        let gateway = u128::from_str_radix(words.nth(2)?, 16).ok()?;
        (length == "00").then(|| Ipv6Addr::from(gateway).into())
    })
}

/// Resolvers of a resolv.conf(5); the zone of a link-local one says nothing about packets.
fn find_resolvers(text: &str) -> Vec<IpAddr> {
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then_some(words.next()?)
    });
    named.filter_map(|name| name.split('%').next()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn gateways_and_resolvers_of_both_families() {
        let text = |found: Vec<IpAddr>| found.iter().map(ToString::to_string).collect::<Vec<_>>();
        let number = u32::from_ne_bytes([192, 0, 2, 254]);
        let routes = format!(
            "Iface\tDestination\tGateway\tFlags\neth0\t00000000\t{number:08X}\t0003\n\
             eth0\t000200C0\t00000000\t0001\n"
        );
        assert_eq!(text(find_gateways_v4(&routes).collect()), ["192.0.2.254"]);
        let zero = "0".repeat(32);
        let routes = format!(
            "{zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 1 0 00000003 eth0\n\
             20010db8000100000000000000000000 40 {zero} 00 {zero} 00000100 1 0 00000001 eth0\n"
        );
        assert_eq!(text(find_gateways_v6(&routes).collect()), ["fe80::1"]);
        let text_of = "# made by hand\nsearch example\nnameserver 192.0.2.53\n\
                       nameserver fe80::53%eth0\noptions edns0\n";
        assert_eq!(text(find_resolvers(text_of)), ["192.0.2.53", "fe80::53"]);
    }
}
