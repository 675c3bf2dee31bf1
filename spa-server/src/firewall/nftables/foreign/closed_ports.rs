//! This host's own treatment of a closed port: other people's chains drop what comes to it, or the
//! kernel refuses it.

use super::legacy::uses_legacy_filter;
use super::packet::Packet;
use super::rules::ForeignRules;
use super::walk::ChainEnd;
use crate::domain::ports::Protocol;
use crate::firewall::netlink::{NetlinkError, NetlinkSocket};
use crate::firewall::nftables::abi;
use crate::firewall::{Hide, Rules};

/// Finds it for a port beside those of the rules. Where IPv4 and IPv6 differ they look closed: a
/// knock port then meets the same rules as its neighbours, in both.
pub(in crate::firewall::nftables) fn look_of_closed_ports(
    netlink: &mut NetlinkSocket,
    rules: &Rules,
) -> Result<Hide, NetlinkError> {
    let port = find_neighbour(rules);
    let packets = [abi::NFPROTO_IPV4, abi::NFPROTO_IPV6]
        .map(|family| Packet::first(family, Protocol::Udp, port));
    let foreign = ForeignRules::read(netlink, &packets)?;
    let is_silent = |packet: &Packet| {
        let bases = foreign.base_chains.iter().filter(|base| {
            let on_way = matches!(base.hook, abi::HOOK_PREROUTING | abi::HOOK_INPUT);
            on_way && [abi::NFPROTO_INET, packet.family].contains(&base.name.family)
        });
        // For a packet that nobody expects: no rule is meant for it of which we do not know.
        let mut walks = bases.map(|base| foreign.walk(base, packet));
        walks.any(|walk| walk.usual_end().is_some_and(|end| end.end == ChainEnd::Drops))
    };
    // What cannot be read is most often a default drop.
    let silent = uses_legacy_filter() || packets.iter().all(is_silent);
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
