//! Chains and rules of the router. This file decides who gets through; `script.rs` only says it.

use std::net::IpAddr;

use ipnet::IpNet;
use spa_keys::duration;

use super::rule::{RouterRule, Table};
use super::{RouterRules, RouterService, Version};
use crate::domain::ports::{PortRange, ProtoPorts, Protocol, merge_ports};
use crate::firewall::address_set::Family;
use crate::firewall::{Authenticated, Bait, Established, Hide, Mode, PacketHook};

/// Address list of banned sources. No service's list has a point in its name.
pub(super) const BANNED_LIST: &str = "spa.banned";
/// Most ports in one rule of netfilter's multiport match, which RouterOS uses; a range counts two.
const MAX_RULE_PORTS: usize = 15;

const BOTH_PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// Rules in the making, for one family.
struct Builder<'a> {
    rules: &'a RouterRules,
    family: Family,
    out: Vec<RouterRule>,
}

/// The rules of one family. The jumps from the base chains come last, when what they lead to is
/// there.
pub(super) fn build_rules(rules: &RouterRules, family: Family) -> Vec<RouterRule> {
    let mut builder = Builder { rules, family, out: Vec::new() };
    builder.add_ban_chain();
    rules.baits.iter().for_each(|bait| builder.add_bait_chain(bait));
    builder.add_input_chain();
    builder.add_forward_chain();
    builder.add_answer_chain("spa.answer.own", PacketHook::Input);
    builder.add_answer_chain("spa.answer.behind", PacketHook::Forward);
    builder.add_nat_chain();
    builder.add_jumps();
    builder.out
}

impl Builder<'_> {
    fn add(&mut self, chain: &str, matches: &str, action: &str, note: &str) {
        let matches = if matches.is_empty() { String::new() } else { format!("{matches} ") };
        self.out.push(RouterRule {
            table: if chain == "spa.nat" { Table::Nat } else { Table::Filter },
            first: false,
            properties: format!("chain={chain} {matches}action={action}"),
            note: note.to_owned(),
        });
    }

    /// Ends packets as hidden ports do.
    fn add_hidden(&mut self, chain: &str, protocol: Protocol, matches: &str, note: &str) {
        let action = match (self.rules.hide, protocol) {
            (Hide::Drop, _) => "drop",
            (Hide::Closed, Protocol::Tcp) => "reject reject-with=tcp-reset",
            (Hide::Closed, Protocol::Udp) => "reject reject-with=icmp-port-unreachable",
        };
        self.add(chain, matches, action, note);
    }

    /// Lets sources that are never banned, and where `granted` those with a grant, out of a chain.
    fn add_spared(&mut self, chain: &str, granted: bool) {
        let rules = self.rules;
        let family = self.family;
        let same = |network: &&IpNet| is_of(network.addr(), family);
        for network in rules.never_ban.iter().filter(same) {
            self.add(chain, &format!("src-address={network}"), "return", "never banned");
        }
        for service in rules.services.iter().filter(|_| granted) {
            let granted = format!("src-address-list={}", service.list());
            self.add(chain, &granted, "return", "a grant is no stranger");
        }
    }

    /// A forged packet at a bait must not cut off who has proved who it is, unless `strict`.
    fn pardons(&self) -> bool {
        self.rules.authenticated == Authenticated::Pardon
    }

    fn add_ban_chain(&mut self) {
        self.add_spared("spa.banned", self.pardons());
        self.add("spa.banned", "", "drop", "banned");
    }

    fn add_bait_chain(&mut self, bait: &Bait) {
        let chain = format!("spa.bait.{}", bait.name);
        self.add_spared(&chain, bait.unless_secured || self.pardons());
        let time = duration::format(bait.ban);
        let action = format!(
            "add-src-to-address-list address-list={BANNED_LIST} address-list-timeout={time}"
        );
        self.add(&chain, "", &action, &format!("bait {}", bait.name));
        for protocol in BOTH_PROTOCOLS {
            self.add_hidden(&chain, protocol, &format!("protocol={protocol}"), "bait");
        }
    }

    fn add_ban_jump(&mut self, chain: &str) {
        let banned = format!("src-address-list={BANNED_LIST}");
        self.add(chain, &banned, "jump jump-target=spa.banned", "banned");
    }

    fn add_input_chain(&mut self) {
        const CHAIN: &str = "spa.input";
        let rules = self.rules;
        self.add_ban_jump(CHAIN);
        let own = || rules.services.iter().filter(|s| s.packet_hook == PacketHook::Input);
        for service in own() {
            let granted = format!("src-address-list={}", service.list());
            let note = format!("{} opens", service.name);
            for ports in port_matches(&service.ports, "dst-port") {
                self.add(CHAIN, &format!("{ports} {granted}"), "accept", &note);
            }
            if service.ports.is_empty() {
                self.add(CHAIN, &granted, "accept", &note);
            }
        }
        for bait in &rules.baits {
            for ports in port_matches(&bait.ports, "dst-port") {
                let target = format!("jump jump-target=spa.bait.{}", bait.name);
                let note = format!("bait {}", bait.name);
                self.add(CHAIN, &format!("{ports} connection-state=new"), &target, &note);
            }
        }
        // The outer ports of inner hosts are the router's own, as long as nobody has a grant.
        for service in own().chain(rules.services.iter().filter(|s| s.to.is_some())) {
            self.add_hidden_service(CHAIN, service, "");
        }
        if rules.mode == Mode::Standalone {
            if self.family == Family::V6 {
                let lease = "protocol=udp dst-port=546 src-address=fe80::/10";
                self.add(CHAIN, lease, "accept", "the router's own lease");
            }
            self.add_default(CHAIN);
        }
    }

    /// Drop of what is not granted, when everything is hidden. Neighbour discovery belongs to no
    /// connection and passes.
    fn add_default(&mut self, chain: &str) {
        if self.rules.hide == Hide::Closed {
            for protocol in BOTH_PROTOCOLS {
                let matches = format!("protocol={protocol} connection-state=new");
                self.add_hidden(chain, protocol, &matches, "everything else");
            }
        }
        self.add(chain, "connection-state=new,invalid", "drop", "everything else");
    }

    fn add_hidden_service(&mut self, chain: &str, service: &RouterService, host: &str) {
        let state = if self.is_bound(service) { "" } else { " connection-state=new" };
        for protocol in BOTH_PROTOCOLS {
            let ports = service_ports(service, !host.is_empty());
            let ports: Vec<_> = ports.into_iter().filter(|p| p.protocol == protocol).collect();
            for ports in port_matches(&ports, "dst-port") {
                let note = format!("{} is hidden", service.name);
                self.add_hidden(chain, protocol, &format!("{host}{ports}{state}"), &note);
            }
        }
    }

    fn add_forward_chain(&mut self) {
        const CHAIN: &str = "spa.forward";
        let rules = self.rules;
        // Who is banned may still prove who it is: its grant lets it out of the ban.
        if self.pardons() {
            self.add_knocks(CHAIN);
        }
        self.add_ban_jump(CHAIN);
        if !self.pardons() {
            self.add_knocks(CHAIN);
        }
        let behind: Vec<(&RouterService, String)> = rules
            .services
            .iter()
            .filter(|s| s.packet_hook == PacketHook::Forward)
            .filter_map(|s| Some((s, host_match(s, self.family)?)))
            .collect();
        for (service, host) in &behind {
            let ports = service_ports(service, !host.is_empty());
            let list = service.list();
            for ports in port_matches(&ports, "dst-port") {
                let matches = format!("{host}{ports} src-address-list={list}");
                self.add(CHAIN, &matches, "accept", &format!("{} opens", service.name));
            }
        }
        for (service, host) in &behind {
            self.add_hidden_service(CHAIN, service, host);
        }
        if rules.mode == Mode::Standalone {
            self.add_default(CHAIN);
        }
    }

    fn server(&self) -> Option<IpAddr> {
        self.rules.servers.iter().copied().find(|address| is_of(*address, self.family))
    }

    fn add_knocks(&mut self, chain: &str) {
        let Some(server) = self.server() else { return };
        for ports in range_lists(&self.rules.knock) {
            let matches = format!("dst-address={server} protocol=udp dst-port={ports}");
            self.add(chain, &matches, "accept", "knocks");
        }
    }

    /// Tells whether each packet of the service's flows needs a live grant. A service for
    /// everything speaks for those of the router's others.
    fn is_bound(&self, service: &RouterService) -> bool {
        let drops = |s: &RouterService| s.established == Established::Drop;
        let all = |s: &RouterService| s.ports.is_empty() && drops(s);
        drops(service)
            || (service.packet_hook == PacketHook::Input && self.rules.services.iter().any(all))
    }

    /// Answers of services whose flows end with their grant. Both ways must be looked up:
    /// FastTrack, which a router's usual rules begin for either direction, passes every rule by.
    fn add_answer_chain(&mut self, chain: &str, hook: PacketHook) {
        let rules = self.rules;
        let bound: Vec<(&RouterService, String)> = rules
            .services
            .iter()
            .filter(|service| service.packet_hook == hook && self.is_bound(service))
            .filter_map(|service| Some((service, host_match(service, self.family)?)))
            .map(|(service, host)| (service, host.replace("dst-address", "src-address")))
            .collect();
        let wide = rules.services.iter().filter(|s| s.ports.is_empty() && !bound.is_empty());
        for service in wide.filter(|_| hook == PacketHook::Input) {
            let granted = format!("dst-address-list={}", service.list());
            self.add(chain, &granted, "accept", &format!("{} answers", service.name));
        }
        for granted in [true, false] {
            for (service, host) in &bound {
                let (end, action, word) = match granted {
                    true => (format!(" dst-address-list={}", service.list()), "accept", "answers"),
                    false => (" connection-state=established".to_owned(), "drop", "has ended"),
                };
                let ports = service_ports(service, !host.is_empty());
                for ports in port_matches(&ports, "src-port") {
                    let note = format!("{} {word}", service.name);
                    self.add(chain, &format!("{host}{ports}{end}"), action, &note);
                }
            }
        }
    }

    fn add_nat_chain(&mut self) {
        const CHAIN: &str = "spa.nat";
        let to_addresses = match self.family {
            Family::V4 => "to-addresses",
            Family::V6 => "to-address",
        };
        if let Some(server) = self.server() {
            for ports in range_lists(&self.rules.knock) {
                let matches = format!("protocol=udp dst-port={ports}");
                let action = format!("dst-nat {to_addresses}={server}{}", host_bits(self.family));
                self.add(CHAIN, &matches, &action, "knocks");
            }
        }
        for service in &self.rules.services {
            let Some(to) = service.to.filter(|to| is_of(to.address, self.family)) else { continue };
            let port = to.port.map(|port| format!(" to-ports={port}")).unwrap_or_default();
            let action =
                format!("dst-nat {to_addresses}={}{}{port}", to.address, host_bits(self.family));
            for ports in port_matches(&service.ports, "dst-port") {
                let matches = format!("{ports} src-address-list={}", service.list());
                self.add(CHAIN, &matches, &action, &format!("{} opens", service.name));
            }
        }
    }

    fn add_jumps(&mut self) {
        let has = |out: &[RouterRule], chain: &str| {
            out.iter().any(|rule| rule.properties.starts_with(&format!("chain={chain} ")))
        };
        let wan = &self.rules.wan;
        let inward = format!("in-interface-list={wan}");
        let outward = format!("out-interface-list={wan}");
        let asked = format!("{inward} dst-address-type=local");
        for (chain, matches, target) in [
            ("input", &inward, "spa.input"),
            ("forward", &inward, "spa.forward"),
            ("forward", &outward, "spa.answer.behind"),
            ("output", &outward, "spa.answer.own"),
            ("dstnat", &asked, "spa.nat"),
        ] {
            if has(&self.out, target) {
                self.out.push(RouterRule {
                    table: if chain == "dstnat" { Table::Nat } else { Table::Filter },
                    first: true,
                    properties: format!("chain={chain} {matches} action=jump jump-target={target}"),
                    note: "strangers".to_owned(),
                });
            }
        }
        if (self.family, self.rules.version) == (Family::V6, Version::V6) {
            self.out.retain(|rule| rule.table == Table::Filter);
        }
    }
}

fn is_of(address: IpAddr, family: Family) -> bool {
    address.is_ipv4() == (family == Family::V4)
}

/// RouterOS 7 wants an address of IPv6 NAT with its prefix.
fn host_bits(family: Family) -> &'static str {
    match family {
        Family::V4 => "",
        Family::V6 => "/128",
    }
}

/// The match for the inner host of a service, with a space behind it; empty for one that is routed.
/// `None`: it cannot be reached over this family.
fn host_match(service: &RouterService, family: Family) -> Option<String> {
    match service.to {
        None => Some(String::new()),
        Some(to) => is_of(to.address, family).then(|| format!("dst-address={} ", to.address)),
    }
}

/// Ports as they are behind the router's NAT, or in front of it.
fn service_ports(service: &RouterService, behind: bool) -> Vec<ProtoPorts> {
    let inner = service.to.and_then(|to| to.port).filter(|_| behind).map(PortRange::one);
    let mut ports: Vec<ProtoPorts> = service
        .ports
        .iter()
        .map(|p| ProtoPorts { protocol: p.protocol, range: inner.unwrap_or(p.range) })
        .collect();
    ports.dedup();
    ports
}

/// `protocol=tcp dst-port=21,22,10000-60000`, as many times as one rule does not hold them.
fn port_matches(ports: &[ProtoPorts], property: &str) -> Vec<String> {
    let of = |protocol: Protocol| {
        let ranges = merge_ports(ports.iter().filter(|p| p.protocol == protocol).map(|p| p.range));
        let lists = range_lists(&ranges).into_iter();
        lists.map(move |list| format!("protocol={protocol} {property}={list}"))
    };
    BOTH_PROTOCOLS.into_iter().flat_map(of).collect()
}

fn range_lists(ranges: &[PortRange]) -> Vec<String> {
    let mut lists: Vec<(usize, String)> = Vec::new();
    for range in ranges {
        let weight = if range.first == range.last { 1 } else { 2 };
        match lists.last_mut() {
            Some((sum, text)) if *sum + weight <= MAX_RULE_PORTS => {
                *sum += weight;
                text.push_str(&format!(",{range}"));
            }
            _ => lists.push((weight, range.to_string())),
        }
    }
    lists.into_iter().map(|(_, text)| text).collect()
}
