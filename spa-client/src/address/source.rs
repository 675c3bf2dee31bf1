//! This machine's own address, as the kernel chooses it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Finds the address that packets to `target` leave from. Connecting a UDP socket asks the routing
/// table and sends nothing.
pub(crate) fn find_source_address(target: SocketAddr) -> io::Result<SocketAddr> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    let mut probe = target;
    // Any port but 0 does.
    probe.set_port(9);
    socket.connect(probe)?;
    let mut local = socket.local_addr()?;
    local.set_port(0);
    Ok(local)
}

/// Returns true for an address under which everybody sees this machine. Documentation ranges count
/// as public: nothing translates them, and laboratories use them.
pub(crate) fn is_public_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_public_v4(v4),
            // Global unicast addresses (RFC 4291 section 2.4): what IANA has given out. Not the
            // identifiers that look like them (RFC 7343).
            None => {
                let [first, second, ..] = v6.segments();
                first & 0xe000 == 0x2000 && !(first == 0x2001 && second & 0xfff0 == 0x20)
            }
        },
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    // Shared address space of carriers' translators (RFC 6598 section 7).
    let [first, second, third, _] = v4.octets();
    let shared = first == 100 && (64..128).contains(&second);
    // Protocols' own addresses, among them those of a translator on this machine (RFC 6890, RFC
    // 7335), benchmarks (RFC 2544), which programs take for addresses of their own, and those that
    // are reserved.
    let special = (first, second, third) == (192, 0, 0)
        || first == 198 && second & 0xfe == 18
        || first == 0
        || first >= 240;
    !(v4.is_private()
        || shared
        || special
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_multicast())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn public_or_not() {
        let public = [
            "8.8.8.8",
            "192.0.2.1",
            "198.51.100.7",
            "203.0.113.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.32.0.1",
            "2001:db8::1",
            "2a00::1",
            "::ffff:8.8.8.8",
        ];
        let not = [
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.1",
            "192.0.0.7",
            "198.18.0.1",
            "240.0.0.1",
            "64:ff9b::1",
            "200::1",
            "fec0::1",
            "2001:20::1",
            "127.0.0.1",
            "169.254.1.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:10.0.0.1",
        ];
        for text in public {
            assert!(is_public_address(text.parse().unwrap()), "{text}");
        }
        for text in not {
            assert!(!is_public_address(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn the_kernel_tells_the_source() {
        assert_eq!(
            find_source_address("127.0.0.1:0".parse().unwrap()).unwrap().ip(),
            IpAddr::from([127, 0, 0, 1])
        );
    }
}
