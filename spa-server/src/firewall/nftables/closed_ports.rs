//! This host's own treatment of a closed port: other people's chains drop what comes to it, or the
//! kernel refuses it.

use super::abi;
use super::fate::Fate;
use super::first_packet::FirstPacket;
use super::foreign::ForeignRules;
use super::obstacles::uses_legacy_tables;
use crate::domain::ports::Protocol;
use crate::firewall::netlink::{NetlinkError, NetlinkSocket};
use crate::firewall::{Hide, Rules};

/// Finds it for a port beside those of the rules. Where IPv4 and IPv6 differ they look closed: a
/// knock port then meets the same rules as its neighbours, in both.
pub(super) fn look_of_closed_ports(
    netlink: &mut NetlinkSocket,
    rules: &Rules,
) -> Result<Hide, NetlinkError> {
    let foreign = ForeignRules::read(netlink)?;
    let port = find_neighbour(rules);
    let is_silent = |family| {
        let packet = FirstPacket { family, protocol: Protocol::Udp, port };
        let bases = foreign.base_chains.iter().filter(|base| base.hook != abi::HOOK_FORWARD);
        let mut fates = bases.map(|base| foreign.likely_fate(base, packet));
        fates.any(|fate| matches!(fate, Fate::Dropped(_)))
    };
    // What cannot be read is most often a default drop.
    let silent =
        uses_legacy_tables() || [abi::NFPROTO_IPV4, abi::NFPROTO_IPV6].into_iter().all(is_silent);
    Ok(if silent { Hide::Drop } else { Hide::Closed })
}

/// A UDP port next to a knock port that the rules do not name.
fn find_neighbour(rules: &Rules) -> u16 {
    let listed = rules.protected.iter().chain(rules.baits.iter().flat_map(|bait| &bait.ports));
    let listed: Vec<_> = listed.map(|ports| ports.range).chain(rules.knock.clone()).collect();
    let knock = rules.knock.first().map_or(1, |range| range.last);
    let named = |port: u16| listed.iter().any(|range| range.contains(port));
    (knock..=u16::MAX).chain((1..knock).rev()).find(|port| !named(*port)).unwrap_or(knock)
}
