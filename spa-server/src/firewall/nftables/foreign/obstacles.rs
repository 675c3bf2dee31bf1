//! Other people's rules that would still drop a packet that we accept, or lead one around our
//! table. In netfilter a drop is final, whoever says it, while an accept ends only its own chain:
//! a table of its own can close, and cannot open.

use super::judged::Judged;
use super::legacy::LEGACY_TABLE_FILES;
use super::model::HostModel;
use super::rules::ForeignRules;
use super::way::Stop;
use crate::domain::ports::{PortRange, ProtoPorts, Protocol, merge_ports};
use crate::firewall::reach::{ReachAnswer, ReachQuestion};
use crate::firewall::{Forward, Obstacle, PacketHook, Rules};

/// Ports that the kernel gives to this host's own clients, both families, and exceptions from it.
const EPHEMERAL_PORTS_FILE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const RESERVED_PORTS_FILE: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";
/// Switches of forwarding between interfaces, IPv4 and IPv6, below /proc/sys/net.
const FORWARDING_SWITCHES: [&str; 2] = ["ipv4/ip_forward", "ipv6/conf/all/forwarding"];

/// Ports of rules to ask about, each for itself. Without rules, ssh stands for what we protect.
pub(in crate::firewall::nftables) fn list_questions(rules: Option<&Rules>) -> Vec<ReachQuestion> {
    let ask = |ports: ProtoPorts, packet_hook, to| ReachQuestion {
        service: ports.to_string(),
        ports: vec![ports],
        packet_hook,
        to,
        hides: true,
    };
    let ssh = [ProtoPorts { protocol: Protocol::Tcp, range: PortRange::one(22) }];
    let ports = rules.map(|r| r.protected.as_slice()).filter(|p| !p.is_empty()).unwrap_or(&ssh);
    let here = ports.iter().map(|ports| ask(*ports, PacketHook::Input, None));
    let behind = rules.map(|r| r.forward.as_slice()).unwrap_or_default();
    // What our own translation sends on is dropped in input for everybody else.
    let sent_on =
        |ports: &ProtoPorts| behind.iter().any(|f| f.to.is_some() && f.ports.contains(ports));
    let behind = behind.iter().flat_map(|Forward { ports, to, .. }| {
        ports.iter().map(|ports| ask(*ports, PacketHook::Forward, *to))
    });
    let here: Vec<ReachQuestion> =
        here.filter(|question| !question.ports.iter().all(sent_on)).collect();
    here.into_iter().chain(behind).collect()
}

/// Lists what the model says about these rules, and what else gets in the way.
pub(in crate::firewall::nftables) fn list_obstacles(
    model: &HostModel,
    rules: Option<&Rules>,
    questions: &[ReachQuestion],
) -> Vec<Obstacle> {
    let none = Rules::default();
    let mut blocked = Grouped::default();
    let mut bypassed = Grouped::default();
    for question in questions {
        let Some(asked) = question.ports.first() else { continue };
        // As they are behind our own translation.
        let inner = question.to.and_then(|to| to.port).map(PortRange::one);
        let ports = &ProtoPorts { range: inner.unwrap_or(asked.range), ..*asked };
        for (_, hidden, reachable) in model.judge(rules.unwrap_or(&none), question) {
            if hidden.answer == ReachAnswer::No
                && rules.is_some()
                && let Some(stop) = hidden.stop
            {
                bypassed.add(stop, *ports);
            }
            // For most sources, or for all.
            let drops = |judged: &Judged| {
                judged.stop.as_ref().is_some_and(|stop| {
                    judged.answer == ReachAnswer::No || (judged.by_source && stop.doubt.is_none())
                })
            };
            if drops(&reachable)
                && let Some(stop) = reachable.stop
            {
                blocked.add(stop, *ports);
            }
        }
    }
    let mut found = blocked.obstacles(|stop, ports| describe_drop(&model.foreign, stop, ports));
    found.extend(bypassed.obstacles(describe_bypass));
    found.extend(rules.and_then(find_forwarding_off));
    found.extend(LEGACY_TABLE_FILES.iter().filter_map(|path| find_legacy(path)));
    found.extend(rules.and_then(find_ephemeral));
    found
}

/// Ports by what stops their packets.
#[derive(Default)]
struct Grouped(Vec<(Stop, Vec<ProtoPorts>)>);

impl Grouped {
    fn add(&mut self, stop: Stop, ports: ProtoPorts) {
        // Of several rules of one base chain the first one stands for all.
        match self.0.iter_mut().find(|(known, _)| known.base == stop.base) {
            Some((_, all)) if all.contains(&ports) => {}
            Some((_, all)) => all.push(ports),
            None => self.0.push((stop, vec![ports])),
        }
    }

    fn obstacles(self, describe: impl Fn(&Stop, &[ProtoPorts]) -> Obstacle) -> Vec<Obstacle> {
        self.0.iter().map(|(stop, ports)| describe(stop, ports)).collect()
    }
}

fn list_ports(ports: &[ProtoPorts]) -> String {
    ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn describe_drop(foreign: &ForeignRules, stop: &Stop, ports: &[ProtoPorts]) -> Obstacle {
    let Stop { base, by, .. } = stop;
    let cause = match by.handle {
        Some(handle) if by.chain == *base => format!("Its rule with handle {handle} drops"),
        Some(handle) => {
            format!("The rule with handle {handle} in its chain {} drops", by.chain.name)
        }
        None => "Its policy is drop: it drops".to_owned(),
    };
    let advice = ports.first().map(|first| foreign.advise_accept(base, first)).unwrap_or_default();
    Obstacle {
        chain: base.to_string(),
        text: format!(
            "{cause} {}, so far as its rules can be read, and a drop is final whatever our table \
             accepts. Let it accept these ports, for the next boot too; our table hides them: \
             {advice}",
            list_ports(ports),
        ),
        bypasses: false,
    }
}

fn describe_bypass(stop: &Stop, ports: &[ProtoPorts]) -> Obstacle {
    Obstacle {
        chain: stop.base.to_string(),
        text: format!(
            "It sends {} on to another host or a container, where the service is not hidden: \
             write hook = \"forward\" in it, with [firewall] interfaces",
            list_ports(ports)
        ),
        bypasses: true,
    }
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
            "The kernel forwards no packets, so no service behind this host can be reached. Let \
             it: sysctl -w {}",
            keys.join(" ")
        ),
        bypasses: false,
    })
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

/// Finds knock ports that clients of this host may get.
///
/// Knock ports are cut off before conntrack, so an answer to a query that this host sent from one
/// of them looks like a knock.
pub(in crate::firewall::nftables) fn find_ephemeral(rules: &Rules) -> Option<Obstacle> {
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
