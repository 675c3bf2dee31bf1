//! Addresses that a single host can have.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// Address that a single host can have, IPv4 never as `::ffff:a.b.c.d`.
///
/// Refused: unspecified (`0.0.0.0`, `::`), multicast, and the limited broadcast `255.255.255.255`
/// (docs/protocol.md, "an address"). [`HostAddr::new_remote`] refuses what cannot be another
/// machine's too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostAddr(IpAddr);

impl HostAddr {
    /// Checks an address, and turns a v4-mapped one into IPv4 first; `None`: no host has it.
    #[must_use]
    pub fn new(address: IpAddr) -> Option<Self> {
        let address = address.to_canonical();
        let reserved = address.is_unspecified()
            || address.is_multicast()
            || address == IpAddr::V4(Ipv4Addr::BROADCAST);
        (!reserved).then_some(Self(address))
    }

    /// Checks an address that must be canonical already. In the header of a packet or a message a
    /// v4-mapped address is forged: it would count as that IPv4 host's in every later comparison.
    #[must_use]
    pub fn new_canonical(address: IpAddr) -> Option<Self> {
        Self::new(address).filter(|host| host.0 == address)
    }

    /// Checks an address that must be another machine's: as [`HostAddr::new`], and neither
    /// loopback, nor in `0.0.0.0/8` ("this network", RFC 1122 section 3.2.1.3), nor in
    /// `240.0.0.0/4` (reserved, RFC 1112 section 4).
    #[must_use]
    pub fn new_remote(address: IpAddr) -> Option<Self> {
        let here = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => {
                let [first, ..] = v4.octets();
                v4.is_loopback() || first == 0 || first >= 240
            }
            IpAddr::V6(v6) => v6.is_loopback(),
        };
        Self::new(address).filter(|host| !here(host.0))
    }

    /// Returns the address, in canonical form.
    #[must_use]
    pub const fn ip(self) -> IpAddr {
        self.0
    }
}

impl From<HostAddr> for IpAddr {
    fn from(host: HostAddr) -> Self {
        host.0
    }
}

impl fmt::Display for HostAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_constructor_and_kind_of_address() {
        // Address, then whether `new`, `new_canonical` and `new_remote` take it.
        for (text, expected) in [
            ("192.0.2.1", [true, true, true]),
            ("10.0.0.1", [true, true, true]),
            ("192.0.2.255", [true, true, true]),
            ("127.0.0.1", [true, true, false]),
            ("0.0.0.0", [false, false, false]),
            ("0.1.2.3", [true, true, false]),
            ("240.0.0.1", [true, true, false]),
            ("224.0.0.1", [false, false, false]),
            ("255.255.255.255", [false, false, false]),
            ("2001:db8::1", [true, true, true]),
            ("fe80::1", [true, true, true]),
            ("::1", [true, true, false]),
            ("::", [false, false, false]),
            ("ff02::1", [false, false, false]),
            ("::ffff:192.0.2.1", [true, false, true]),
            ("::ffff:127.0.0.1", [true, false, false]),
            ("::ffff:0.0.0.0", [false, false, false]),
            ("::ffff:224.0.0.1", [false, false, false]),
            ("::ffff:255.255.255.255", [false, false, false]),
        ] {
            let address: IpAddr = text.parse().unwrap();
            let taken = [
                HostAddr::new(address),
                HostAddr::new_canonical(address),
                HostAddr::new_remote(address),
            ]
            .map(|host| host.is_some());
            assert_eq!(taken, expected, "{text}");
        }
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(HostAddr::new(mapped).unwrap().ip(), IpAddr::from([192, 0, 2, 1]));
    }

    proptest! {
        #[test]
        fn canonical_and_never_multicast(bits in any::<u128>(), mapped in any::<bool>()) {
            let v4 = Ipv4Addr::from(u32::try_from(bits >> 96).unwrap());
            let v6 = if mapped { v4.to_ipv6_mapped() } else { Ipv6Addr::from(bits) };
            if let Some(host) = HostAddr::new(v6.into()) {
                prop_assert_eq!(host.ip(), host.ip().to_canonical());
                prop_assert!(!host.ip().is_multicast() && !host.ip().is_unspecified());
                prop_assert_eq!(HostAddr::new_canonical(host.ip()), Some(host));
            }
        }
    }
}
