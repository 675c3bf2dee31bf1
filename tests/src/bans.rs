//! Bans as the kernel has them, and sources to be banned.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Family;
use crate::netns::Host;
use crate::nft::{self, Element};

/// The ban of an address, IPv6 by its /64.
pub fn ban_of(host: &Host, source: IpAddr) -> Option<Element> {
    let key = banned_as(source).to_string();
    bans(host, Family::of(source)).into_iter().find(|ban| ban.key == [key.as_str()])
}

/// All bans of a family.
pub fn bans(host: &Host, family: Family) -> Vec<Element> {
    nft::elements(host, "inet", "spa", &format!("ban{}", family.digit())).expect("the set of bans")
}

/// The key of the ban of an address.
pub fn banned_as(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// One of many strangers, each with a /64 of its own (RFC 2544's and RFC 3849's ranges). They have
/// no host: send in their name.
pub fn stranger(family: Family, number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    match family {
        Family::V4 => Ipv4Addr::new(198, 18, high, low).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0xba17, number, 0, 0, 0, 1).into(),
    }
}
