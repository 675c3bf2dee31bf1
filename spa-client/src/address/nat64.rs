//! Addresses that a translator to IPv4 answers for (NAT64, RFC 6146): it sends from an address of
//! its own, whatever ours is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::Ipv6Net;

use super::resolve::look_up_name;
use super::source::find_source_address;

/// Well-known prefix (RFC 6052 section 2.1).
const WELL_KNOWN: (Ipv6Addr, u8) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);
/// Prefix for networks of their own (RFC 8215).
const LOCAL_USE: (Ipv6Addr, u8) = (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48);
/// Name that has only IPv4 addresses, so that IPv6 ones tell a network's prefix (RFC 7050).
const IPV4_ONLY_NAME: &str = "ipv4only.arpa";
/// Addresses.
const IPV4_ONLY: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 0, 170), Ipv4Addr::new(192, 0, 0, 171)];
/// Longest wait for its addresses: who has no translator waits for nothing.
const LOOK_UP_TIMEOUT: Duration = Duration::from_millis(700);
/// Lengths of prefixes, in bits, with the places of the four bytes of IPv4 behind them (RFC 6052
/// section 2.2).
const EMBEDDINGS: [(u8, [usize; 4]); 6] = [
    (96, [12, 13, 14, 15]),
    (64, [9, 10, 11, 12]),
    (56, [7, 9, 10, 11]),
    (48, [6, 7, 9, 10]),
    (40, [5, 6, 7, 9]),
    (32, [4, 5, 6, 7]),
];

/// Returns true if a translator answers for this address, by its prefix or one of these.
pub(crate) fn is_translated(target: IpAddr, prefixes: &[Ipv6Net]) -> bool {
    let IpAddr::V6(target) = target else { return false };
    let known =
        [WELL_KNOWN, LOCAL_USE].into_iter().filter_map(|(at, len)| Ipv6Net::new(at, len).ok());
    known.chain(prefixes.iter().copied()).any(|prefix| prefix.contains(&target))
}

/// Asks the resolver for this network's prefixes; not where IPv4 has a way of its own, since
/// nothing is translated there.
pub(crate) fn discover_prefixes() -> Vec<Ipv6Net> {
    // A route to a documentation address is the route to everybody. A translator on this machine
    // (464XLAT) gives its own address for it, which is nobody's public face.
    let any = SocketAddr::new(Ipv4Addr::new(192, 0, 2, 1).into(), 0);
    if find_source_address(any).is_ok_and(|own| !is_translator_address(own.ip())) {
        return Vec::new();
    }
    let found = look_up_name(IPV4_ONLY_NAME, LOOK_UP_TIMEOUT).unwrap_or_default();
    found.iter().filter_map(|address| prefix_of(address.ip())).collect()
}

/// Returns true for an address of a translator on this machine (RFC 7335).
fn is_translator_address(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.octets().starts_with(&[192, 0, 0]))
}

/// Finds the prefix in front of a well-known address.
fn prefix_of(address: IpAddr) -> Option<Ipv6Net> {
    let IpAddr::V6(address) = address else { return None };
    let octets = address.octets();
    EMBEDDINGS.iter().find_map(|(length, places)| {
        let mut v4 = [0; 4];
        for (byte, place) in v4.iter_mut().zip(places) {
            *byte = *octets.get(*place)?;
        }
        let known = IPV4_ONLY.contains(&Ipv4Addr::from(v4));
        known.then(|| Ipv6Net::new(address, *length).ok().map(|prefix| prefix.trunc())).flatten()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn prefixes_by_what_the_resolver_says() {
        for (address, prefix) in [
            ("64:ff9b::c000:aa", Some("64:ff9b::/96")),
            ("2001:db8:1:2:3:4:c000:ab", Some("2001:db8:1:2:3:4::/96")),
            ("2001:db8:1:2:c0:0:aa00::", Some("2001:db8:1:2::/64")),
            ("2001:db8:1:2c0:0:aa::", Some("2001:db8:1:200::/56")),
            ("2001:db8:1:c000:0:aa00::", Some("2001:db8:1::/48")),
            ("2001:db8:1c0:0:aa::", Some("2001:db8:100::/40")),
            ("2001:db8:c000:aa::", Some("2001:db8::/32")),
            ("2001:db8::1", None),
            ("192.0.0.170", None),
        ] {
            let found = prefix_of(address.parse().unwrap()).map(|found| found.to_string());
            assert_eq!(found.as_deref(), prefix, "{address}");
        }
    }

    #[test]
    fn translated_or_not() {
        let own: [Ipv6Net; 1] = ["2001:db8:64::/96".parse().unwrap()];
        for (target, translated) in [
            ("64:ff9b::192.0.2.1", true),
            ("64:ff9b:1:fffe::192.0.2.1", true),
            ("2001:db8:64::c000:201", true),
            ("64:ff9b:2::1", false),
            ("2001:db8:65::1", false),
            ("192.0.2.1", false),
        ] {
            assert_eq!(is_translated(target.parse().unwrap(), &own), translated, "{target}");
        }
    }
}
