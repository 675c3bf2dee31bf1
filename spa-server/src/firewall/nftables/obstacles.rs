//! Search for foreign rules that would still drop a packet that we accept. In netfilter a drop is
//! final, whoever says it, while an accept ends only its own chain; so a table of its own can
//! close, and cannot open.

use std::net::IpAddr;

use super::abi;
use super::fate::{Fate, RuleLocation};
use super::first_packet::FirstPacket;
use super::foreign::{BaseChain, ForeignRules, ObjectName};
use crate::domain::ports::{PortRange, ProtoPorts, Protocol, merge_ports};
use crate::firewall::netlink::{NetlinkError, NetlinkSocket};
use crate::firewall::{Forward, Obstacle, Rules};

/// Names of tables that the legacy iptables tools filled, one a line. Of the thread, since a thread
/// may live in a network namespace of its own.
const LEGACY_TABLE_FILES: [&str; 2] =
    ["/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"];
/// Ports that the kernel gives to this host's own clients, both families, and exceptions from it.
const EPHEMERAL_PORTS_FILE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const RESERVED_PORTS_FILE: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";
/// Switches of forwarding between interfaces, IPv4 and IPv6, below /proc/sys/net.
const FORWARDING_SWITCHES: [&str; 2] = ["ipv4/ip_forward", "ipv6/conf/all/forwarding"];

/// Finds what would drop a packet that we accept. Without rules, ssh stands for what we protect.
pub(super) fn find_obstacles(
    netlink: &mut NetlinkSocket,
    rules: Option<&Rules>,
) -> Result<Vec<Obstacle>, NetlinkError> {
    let ssh = [ProtoPorts { protocol: Protocol::Tcp, range: PortRange::one(22) }];
    let ports = rules.map(|r| r.protected.as_slice()).filter(|p| !p.is_empty()).unwrap_or(&ssh);
    let foreign = ForeignRules::read(netlink)?;
    let here = foreign.base_chains.iter().filter(|base| base.hook != abi::HOOK_FORWARD);
    let mut found: Vec<_> = here.filter_map(|base| find_obstacle(&foreign, base, ports)).collect();
    for behind in rules.map(|r| r.forward.as_slice()).unwrap_or_default() {
        let seen = |base: &&BaseChain| base.hook == abi::HOOK_FORWARD;
        // Without a target the inner port is unknown where another's NAT leads to it, and so are
        // the rules that let it pass.
        let bases = foreign.base_chains.iter().filter(seen).filter(|_| behind.to.is_some());
        let ports = translate_ports(behind);
        found.extend(bases.filter_map(|base| find_obstacle(&foreign, base, &ports)));
    }
    if rules.is_some() {
        let bases = foreign.base_chains.iter().filter(|base| base.hook == abi::HOOK_PREROUTING);
        found.extend(bases.flat_map(|base| find_bypass(&foreign, base, ports)));
    }
    found.extend(rules.and_then(find_forwarding_off));
    found.extend(LEGACY_TABLE_FILES.iter().filter_map(|path| find_legacy(path)));
    found.extend(rules.and_then(find_ephemeral));
    Ok(found)
}

/// Finds a protected port that another's rule sends on to a host or container, ahead of the hook at
/// which our table hides it.
fn find_bypass(foreign: &ForeignRules, base: &BaseChain, ports: &[ProtoPorts]) -> Option<Obstacle> {
    let own: Vec<IpAddr> = own_addresses();
    let sent_on = |ports: &&ProtoPorts| {
        [abi::NFPROTO_IPV4, abi::NFPROTO_IPV6].into_iter().any(|family| {
            [ports.range.first, ports.range.last].into_iter().any(|port| {
                let packet = FirstPacket { family, protocol: ports.protocol, port };
                let met = base.name.family == abi::NFPROTO_INET || base.name.family == family;
                let to = foreign.find_translation(&base.name, packet);
                met && to.is_some_and(|to| to.is_none_or(|to| !own.contains(&to)))
            })
        })
    };
    let found: Vec<String> = ports.iter().filter(sent_on).map(ToString::to_string).collect();
    let ObjectName { table, name, .. } = &base.name;
    (!found.is_empty()).then(|| Obstacle {
        chain: format!("{table} {name}"),
        text: format!(
            "It sends {} on to another host or a container, where the service is not hidden: \
             write hook = \"forward\" in it, with [firewall] interfaces",
            found.join(", ")
        ),
        bypasses: true,
    })
}

/// Addresses of this host: what is sent there comes to our input chain all the same.
fn own_addresses() -> Vec<IpAddr> {
    let known = nix::ifaddrs::getifaddrs().ok().into_iter().flatten();
    known
        .filter_map(|one| {
            let address = one.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
        })
        .collect()
}

/// The ports as they are in the forward hook.
fn translate_ports(behind: &Forward) -> Vec<ProtoPorts> {
    let port = behind.to.and_then(|to| to.port);
    let of = |p: &ProtoPorts| ProtoPorts { range: port.map_or(p.range, PortRange::one), ..*p };
    behind.ports.iter().map(of).collect()
}

/// A service behind this host, and a kernel that forwards nothing.
fn find_forwarding_off(rules: &Rules) -> Option<Obstacle> {
    let off = |key: &str| {
        std::fs::read_to_string(format!("/proc/sys/net/{key}")).is_ok_and(|on| on.trim() == "0")
    };
    let wanted =
        |v4: bool| rules.forward.iter().filter_map(|f| f.to).any(|to| to.address.is_ipv4() == v4);
    let (four, six) = (off(FORWARDING_SWITCHES[0]), off(FORWARDING_SWITCHES[1]));
    let neither = four && six && !rules.forward.is_empty();
    let keys: Vec<_> = [(four && wanted(true)) || neither, (six && wanted(false)) || neither]
        .iter()
        .zip(FORWARDING_SWITCHES)
        .filter(|(off, _)| **off)
        .map(|(_, key)| format!("net.{}=1", key.replace('/', ".")))
        .collect();
    (!keys.is_empty()).then(|| Obstacle {
        chain: "forwarding".to_owned(),
        text: format!(
            "The kernel forwards no packets, so no service behind this host can be reached. Allow \
             it: sysctl -w {}",
            keys.join(" ")
        ),
        bypasses: false,
    })
}

fn find_obstacle(
    foreign: &ForeignRules,
    base: &BaseChain,
    ports: &[ProtoPorts],
) -> Option<Obstacle> {
    let fate = |ports: &ProtoPorts| -> Option<Option<RuleLocation>> {
        [abi::NFPROTO_IPV4, abi::NFPROTO_IPV6].into_iter().find_map(|family| {
            [ports.range.first, ports.range.last].into_iter().find_map(|port| {
                let packet = FirstPacket { family, protocol: ports.protocol, port };
                match foreign.certain_fate(base, packet) {
                    Fate::Dropped(rule) => Some(rule),
                    Fate::Refused(rule) => Some(Some(rule)),
                    Fate::Accepted | Fate::Undecided => None,
                }
            })
        })
    };
    let dropped: Vec<_> = ports.iter().filter_map(|ports| Some((ports, fate(ports)?))).collect();
    let (first, rule) = dropped.first()?;
    let ObjectName { family, table, name } = &base.name;
    let family = match *family {
        abi::NFPROTO_IPV4 => "ip",
        abi::NFPROTO_IPV6 => "ip6",
        _ => "inet",
    };
    let list: Vec<_> = dropped.iter().map(|(ports, _)| ports.to_string()).collect();
    let cause = match rule {
        Some(RuleLocation { chain, handle }) if chain == name => {
            format!("Its rule with handle {handle} drops")
        }
        Some(RuleLocation { chain, handle }) => {
            format!("The rule with handle {handle} in its chain {chain} drops")
        }
        None => "Its policy is drop: it drops".to_owned(),
    };
    Some(Obstacle {
        chain: format!("{family} {table} {name}"),
        text: format!(
            "{cause} {}, so far as its rules can be read, and a drop is final whatever our table \
             accepts. Let it accept these ports, for the next boot too; our table hides them: {}",
            list.join(", "),
            foreign.advise_accept(&base.name, family, first),
        ),
        bypasses: false,
    })
}

/// Tells whether the legacy iptables tools filter here, whose rules cannot be read.
pub(super) fn uses_legacy_tables() -> bool {
    LEGACY_TABLE_FILES.iter().any(|path| find_legacy(path).is_some())
}

fn find_legacy(path: &str) -> Option<Obstacle> {
    let tables = std::fs::read_to_string(path).ok()?;
    tables.lines().any(|table| table == "filter").then(|| Obstacle {
        chain: format!("{} filter INPUT (legacy)", if path.contains("ip6") { "ip6" } else { "ip" }),
        text: "The legacy iptables filter table is in use, which cannot be read from here. See \
            that its \
               INPUT chain accepts the protected ports: iptables-legacy -S INPUT"
            .to_owned(),
        bypasses: false,
    })
}

/// Knock ports are cut off before conntrack, so an answer to a query that this host sent from one
/// of them looks like a knock.
fn find_ephemeral(rules: &Rules) -> Option<Obstacle> {
    let given = std::fs::read_to_string(EPHEMERAL_PORTS_FILE).ok()?;
    let mut ends = given.split_whitespace().filter_map(|n| n.parse().ok());
    let given = PortRange { first: ends.next()?, last: ends.next()? };
    let reserved = std::fs::read_to_string(RESERVED_PORTS_FILE).unwrap_or_default();
    let reserved: Vec<PortRange> =
        reserved.trim().split(',').filter_map(|r| r.parse().ok()).collect();
    let reserved = merge_ports(reserved);
    let safe = |r: &PortRange| reserved.iter().any(|s| s.first <= r.first && r.last <= s.last);
    let knock = merge_ports(rules.knock.iter().copied());
    let at_risk: Vec<_> = knock.iter().filter(|r| r.overlaps(given) && !safe(r)).collect();
    if at_risk.is_empty() {
        return None;
    }
    let text = |ports: &mut dyn Iterator<Item = String>| ports.collect::<Vec<_>>().join(",");
    let all = merge_ports(reserved.iter().chain(&knock).copied());
    Some(Obstacle {
        chain: "net.ipv4.ip_local_port_range".to_owned(),
        text: format!(
            "Knock ports {} are among those that the kernel gives to this host's own UDP clients, \
             and an \
             answer to such a client is taken for a knock and lost. Reserve them: sysctl -w \
             net.ipv4.ip_local_reserved_ports={}",
            text(&mut at_risk.iter().map(ToString::to_string)),
            text(&mut all.iter().map(ToString::to_string)),
        ),
        bypasses: false,
    })
}
