//! Extensions of iptables in foreign rules, as far as they say something about the first packet of
//! a flow to this host. Layouts: linux/netfilter/xt_*.h; numbers are in the machine's order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::abi;

/// `XT_CONNTRACK_STATE`: the state is what is asked for.
const ASKS_STATE: u16 = 1;
/// `XT_CONNTRACK_STATE_BIT(IP_CT_NEW)`.
const STATE_NEW: u16 = 1 << 3;
/// Bit of `RTN_LOCAL` in a mask of address types.
const TYPE_LOCAL: u16 = 1 << 2;
/// `XT_ADDRTYPE_INVERT_DEST`.
const INVERT_DESTINATION: u32 = 2;

/// Tells whether an extension matches a packet that begins a flow to this host; `None`: that
/// depends on more than we know.
pub(super) fn match_first_packet(name: &str, revision: u32, info: &[u8]) -> Option<bool> {
    match (name, revision) {
        ("comment", _) => Some(true),
        // Four addresses with masks, two times, protocol, four ports, then
        // flags u16 | inverted u16 | states u16.
        ("conntrack", 2 | 3) => {
            let (flags, inverted) = (read_u16(info, 146)?, read_u16(info, 148)?);
            let states = read_u16(info, 150)?;
            (flags == ASKS_STATE)
                .then_some((states & STATE_NEW != 0) != (inverted & ASKS_STATE != 0))
        }
        // Source types u16 | destination types u16 | flags u32.
        ("addrtype", 1) => {
            let (source, destination) = (read_u16(info, 0)?, read_u16(info, 2)?);
            let flags = u32::from_ne_bytes(*info.get(4..)?.first_chunk()?);
            (source == 0 && flags & !INVERT_DESTINATION == 0)
                .then_some((destination & TYPE_LOCAL != 0) != (flags & INVERT_DESTINATION != 0))
        }
        _ => None,
    }
}

/// The first address that a target `DNAT` sends to: flags u32 | address in 16 bytes | ….
pub(super) fn read_dnat(family: u8, info: &[u8]) -> Option<IpAddr> {
    let address = info.get(4..)?;
    Some(match family {
        abi::NFPROTO_IPV4 => Ipv4Addr::from(*address.first_chunk::<4>()?).into(),
        _ => Ipv6Addr::from(*address.first_chunk::<16>()?).into(),
    })
}

fn read_u16(info: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*info.get(at..)?.first_chunk()?))
}
