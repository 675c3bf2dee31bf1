//! The state of this host that decides what reaches its ports, read once.

use std::io;
use std::net::IpAddr;

use super::legacy::list_legacy_tables;
use super::packet::{Device, FlowPlace, Packet};
use super::rules::ForeignRules;
use crate::domain::ports::Protocol;
use crate::firewall::FirewallError;
use crate::firewall::host_network::HostNetwork;
use crate::firewall::netlink::{NetlinkError, NetlinkSocket};
use crate::firewall::nftables::abi;
use crate::firewall::reach::ReachQuery;
use crate::sockets::{Socket, read_sockets};

/// Switches of forwarding between interfaces, IPv4 and IPv6.
const FORWARDING_SWITCHES: [&str; 2] =
    ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"];

/// State of the host that decides what reaches its ports.
#[derive(Debug)]
pub(in crate::firewall::nftables) struct HostModel {
    /// Other people's rules.
    pub(super) foreign: ForeignRules,
    /// Interfaces, addresses and routes.
    pub(super) network: HostNetwork,
    /// `None`: who listens is not asked.
    pub(super) sockets: Option<Vec<Socket>>,
    /// Tables of the legacy tools, IPv4 and IPv6.
    pub(super) legacy: [Vec<String>; 2],
    /// Packets are forwarded, IPv4 and IPv6; `None`: that cannot be read.
    pub(super) forwards: [Option<bool>; 2],
    /// Source that asks.
    pub(super) source: Option<IpAddr>,
}

impl HostModel {
    /// Looks at the host. With a source, sets of addresses are read as well.
    ///
    /// # Errors
    /// What the kernel says.
    pub(in crate::firewall::nftables) fn read(
        netlink: &mut NetlinkSocket,
        query: &ReachQuery,
    ) -> Result<Self, FirewallError> {
        let failed = |error: io::Error| FirewallError::Other(format!("interfaces: {error}"));
        let network = HostNetwork::read().map_err(failed)?;
        let foreign = read_foreign(netlink, query)?;
        // With many connections they take time.
        let sockets = query.listeners.then(|| read_sockets().0);
        let forwards = FORWARDING_SWITCHES
            .map(|path| std::fs::read_to_string(path).ok().map(|text| text.trim() != "0"));
        let legacy = [true, false].map(list_legacy_tables);
        Ok(Self { foreign, network, sockets, legacy, forwards, source: query.source })
    }

    /// Tells whether it has an address of a family; `v4` chooses IPv4.
    pub(super) fn has_address(&self, v4: bool) -> bool {
        self.network.links().any(|link| !link.loopback && link.has_address(v4))
    }
}

/// Reads other people's rules, with the sets that say something about packets to these services.
fn read_foreign(
    netlink: &mut NetlinkSocket,
    query: &ReachQuery,
) -> Result<ForeignRules, NetlinkError> {
    let of_questions = query.services.iter().flat_map(|question| &question.ports);
    let mut protocols: Vec<Protocol> = of_questions.map(|ports| ports.protocol).collect();
    protocols.sort_unstable();
    protocols.dedup();
    let mut packets = Vec::new();
    for family in [abi::NFPROTO_IPV4, abi::NFPROTO_IPV6] {
        for protocol in &protocols {
            let mut packet = Packet::first(family, *protocol, 1);
            let fits = |source: &IpAddr| source.is_ipv4() == (family == abi::NFPROTO_IPV4);
            packet.client = query.source.filter(fits);
            let device = Device { index: 0, name: String::new(), leads_back: false };
            packet.incoming = Some(device.clone());
            let answer = Packet {
                place: FlowPlace::Answer,
                incoming: None,
                outgoing: Some(device),
                ..packet.clone()
            };
            packets.extend([packet, answer]);
        }
    }
    ForeignRules::read(netlink, &packets)
}
