//! One service over one family, and the packets that are asked about.

use std::net::IpAddr;

use super::judged::Judged;
use super::model::HostModel;
use super::packet::{Device, Packet};
use super::sample::sample_ports;
use super::way::HostRules;
use crate::firewall::Rules;
use crate::firewall::host_network::Link;
use crate::firewall::nftables::abi;
use crate::firewall::reach::{ReachAnswer, ReachQuestion};
use crate::sockets::{Socket, SocketState};

/// Most interfaces, addresses and ports that are asked for one by one; more make the answer a
/// doubt.
const MAX_EACH: usize = 64;

/// One service over one family.
pub(super) struct View<'m> {
    /// The host.
    pub(super) model: &'m HostModel,
    /// Our rules.
    pub(super) rules: &'m Rules,
    /// The service.
    pub(super) question: &'m ReachQuestion,
    /// IPv4, or else IPv6.
    pub(super) v4: bool,
}

impl View<'_> {
    pub(super) fn host(&self) -> HostRules<'_> {
        HostRules { foreign: &self.model.foreign, network: &self.model.network }
    }

    pub(super) fn family(&self) -> u8 {
        if self.v4 { abi::NFPROTO_IPV4 } else { abi::NFPROTO_IPV6 }
    }

    /// Our rules hide what comes in by it.
    pub(super) fn covers(&self, link: &Link) -> bool {
        let names = &self.rules.interfaces;
        names.is_empty() || names.contains(&link.name)
    }

    /// Interfaces by which strangers come in: where a default route leads, and where our rules
    /// hide.
    pub(super) fn list_entries(&self) -> Vec<&Link> {
        let links = self.model.network.links();
        let comes_in = |link: &&Link| link.up && !link.loopback && link.master.is_none();
        let wanted = |link: &&Link| {
            link.has_default_route(self.v4) || (link.has_address(self.v4) && self.covers(link))
        };
        links.filter(comes_in).filter(wanted).collect()
    }

    /// An interface by which our rules hide nothing, and which has no address that says what it is
    /// for. By any interface the kernel takes packets to any address of this host, and a card
    /// answers for those of another one in its segment (arp_ignore).
    pub(super) fn find_without_address(&self) -> Option<&Link> {
        self.model.network.links().find(|link| {
            let comes_in = link.running && !link.loopback && link.master.is_none();
            comes_in && !self.covers(link) && !link.has_address(true) && !link.has_address(false)
        })
    }

    /// First packets that stand for all that strangers may send.
    pub(super) fn list_packets(&self) -> (Vec<(Option<&Link>, Packet)>, bool) {
        let numbers = self.model.foreign.list_numbers();
        let links = self.model.network.links().filter(|link| !link.loopback);
        let own: Vec<IpAddr> = links.flat_map(|link| link.list_global(self.v4)).collect();
        // While no interface is up, one of which nothing is known stands for those to come.
        let links = self.list_entries().into_iter().map(Some).collect::<Vec<_>>();
        let links = if links.is_empty() { vec![None] } else { links };
        let own: Vec<_> = own.into_iter().map(Some).collect();
        let own = if own.is_empty() { vec![None] } else { own };
        let all = self.model.network.links();
        let routes = all.filter(|link| self.has_default_route(Some(link))).count();
        let mut packets = Vec::new();
        for link in links {
            for ports in &self.question.ports {
                for port in sample_ports(ports.range, &numbers) {
                    for address in &own {
                        let mut packet = Packet::first(self.family(), ports.protocol, port);
                        packet.client = self.model.source;
                        packet.server = *address;
                        packet.incoming = link.map(|link| Device {
                            index: link.index,
                            name: link.name.clone(),
                            leads_back: routes == 1 && self.has_default_route(Some(link)),
                        });
                        packets.push((link, packet));
                    }
                }
            }
        }
        let whole = packets.len() <= MAX_EACH * MAX_EACH;
        packets.truncate(MAX_EACH * MAX_EACH);
        (packets, whole)
    }

    /// Finds what cannot be read ahead of every rule.
    pub(super) fn find_unread(&self, link: Option<&Link>, tables: &[&str]) -> Option<Judged> {
        let [legacy4, legacy6] = &self.model.legacy;
        let legacy = if self.v4 { legacy4 } else { legacy6 };
        let table = legacy.iter().find(|table| tables.contains(&&***table));
        let table = table.map(|table| {
            let tool = if self.v4 { "iptables" } else { "ip6tables" };
            format!("the legacy {tool} table {table} cannot be read: {tool}-legacy -t {table} -S")
        });
        let ports = link.into_iter().flat_map(|link| self.model.network.ports_of(link));
        let ahead = { ports }.find_map(|port| {
            let what = port.ahead?;
            Some(format!("{what} on {} sees packets first, and cannot be read", port.name))
        });
        ahead.or(table).map(|why| Judged::new(ReachAnswer::Undecided, why))
    }

    pub(super) fn has_default_route(&self, link: Option<&Link>) -> bool {
        link.is_some_and(|link| link.has_default_route(self.v4))
    }

    /// Interface by which a packet for a host behind this one goes out.
    pub(super) fn find_outgoing(&self, packet: &Packet) -> Option<Device> {
        let to = packet.server.filter(|_| packet.own == Some(false))?;
        let link = self.model.network.find_link_to(to)?;
        Some(Device { index: link.index, name: link.name.clone(), leads_back: false })
    }

    /// A program listens for the packet; `unknown` where that was not asked.
    pub(super) fn is_heard(&self, packet: &Packet, unknown: bool) -> bool {
        let hears = |socket: &Socket| {
            let ip = socket.local.ip();
            // An unspecified IPv6 address stands for IPv4 as well.
            let address = match ip {
                IpAddr::V6(v6) if v6.is_unspecified() => true,
                IpAddr::V4(v4) if v4.is_unspecified() => self.v4,
                ip => packet.server.is_none_or(|server| server == ip),
            };
            socket.state == SocketState::Listening
                && socket.protocol == packet.protocol
                && packet.port.is_none_or(|port| port == socket.local.port())
                && address
        };
        self.model.sockets.as_ref().map_or(unknown, |sockets| sockets.iter().any(hears))
    }
}
