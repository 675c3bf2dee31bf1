//! The ruleset as text for `nft -f` (nft 1.0.6 and later).

use std::fmt::Write as _;
use std::time::Duration;

use super::abi;
use super::model::{ChainSpec, Form, KeyType, PacketView, SetSpec, Word};
use super::ruleset::{build_chains, build_sets};
use super::set_contents::set_contents;
use crate::firewall::Rules;
use crate::firewall::address_set::{AddressSet, Family};

/// The rules as text that `nft -f` loads, in one transaction: sets are made when missing and keep
/// their elements, chains are replaced. It is what `install` does over netlink, word for word.
#[must_use]
pub fn print(rules: &Rules) -> String {
    let mut out =
        String::from("#!/usr/sbin/nft -f\n# Made by spa-server from its configuration.\n\n");
    out.push_str("add table inet spa\n");
    for set in build_sets(rules) {
        let _ = writeln!(out, "add set inet spa {} {{ {} }}", set.name, format_set(&set));
    }
    let chains = build_chains(rules, true);
    for chain in &chains {
        let _ = writeln!(out, "add chain inet spa {}{}", chain.name, format_hook(chain));
    }
    for chain in &chains {
        let _ = writeln!(out, "flush chain inet spa {}", chain.name);
    }
    for content in set_contents(rules) {
        let _ = writeln!(out, "flush set inet spa {}", content.set);
        if !content.ranges.is_empty() {
            let list: Vec<_> = content.ranges.iter().map(|range| range.text.as_str()).collect();
            let _ = writeln!(out, "add element inet spa {} {{ {} }}", content.set, list.join(", "));
        }
    }
    out.push_str("\ntable inet spa {\n");
    for chain in chains.iter().filter(|chain| !chain.rules.is_empty()) {
        let _ = writeln!(out, "  chain {} {{", chain.name);
        for rule in &chain.rules {
            let words: Vec<_> = rule.iter().map(format_word).collect();
            let _ = writeln!(out, "    {}", words.join(" "));
        }
        out.push_str("  }\n");
    }
    out.push_str("}\n");
    out
}

fn format_set(set: &SetSpec) -> String {
    let keyed = match set.keyed {
        KeyType::Port => "inet_service".to_owned(),
        KeyType::Interface => "ifname".to_owned(),
        KeyType::IcmpType(Family::V4) => "icmp_type".to_owned(),
        KeyType::IcmpType(Family::V6) => "icmpv6_type".to_owned(),
        KeyType::Address(family, form) => {
            let address = if family == Family::V4 { "ipv4_addr" } else { "ipv6_addr" };
            format!(
                "{address}{}",
                match form {
                    Form::Address => "",
                    Form::AddressProtocol => " . inet_proto",
                    Form::AddressPort => " . inet_proto . inet_service",
                }
            )
        }
    };
    let size = set.size.map(|size| format!("size {size}; ")).unwrap_or_default();
    let known = [
        (abi::set::INTERVAL, "interval"),
        (abi::set::EVAL, "dynamic"),
        (abi::set::TIMEOUT, "timeout"),
    ];
    let flags: Vec<_> =
        known.iter().filter(|(bit, _)| set.flags & bit != 0).map(|(_, name)| *name).collect();
    let counter = if set.counted { " counter;" } else { "" };
    format!("type {keyed}; {size}flags {};{counter}", flags.join(","))
}

fn format_hook(chain: &ChainSpec) -> String {
    chain.hook.map_or_else(String::new, |hook| {
        format!(
            " {{ type {} hook {} priority {}; policy {}; }}",
            hook.kind,
            hook.name,
            hook.priority,
            if hook.drop { "drop" } else { "accept" }
        )
    })
}

/// The source address of a family.
fn source_field(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip saddr",
        Family::V6 => "ip6 saddr",
    }
}

/// The destination address of a family.
fn destination_field(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip daddr",
        Family::V6 => "ip6 daddr",
    }
}

/// Parts of a packet that a view looks at.
fn format_view(family: Family, view: PacketView, form: Form) -> String {
    let (address, port) = match view {
        PacketView::Comes => (source_field(family), "th dport"),
        PacketView::Goes => (destination_field(family), "th sport"),
        PacketView::Asked => (source_field(family), "ct original proto-dst"),
        PacketView::Answered => (destination_field(family), "ct original proto-dst"),
    };
    match form {
        Form::Address => address.to_owned(),
        Form::AddressProtocol => format!("{address} . meta l4proto"),
        Form::AddressPort => format!("{address} . meta l4proto . {port}"),
    }
}

/// The source as it is banned.
fn banned_field(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip saddr",
        Family::V6 => "ip6 saddr & ffff:ffff:ffff:ffff::",
    }
}

fn format_word(word: &Word) -> String {
    let of = |set: AddressSet, family| format!("@{}", set.name(family));
    match word {
        Word::Loopback => "iif \"lo\"".into(),
        Word::LoopbackOut => "oif \"lo\"".into(),
        Word::NotFrom(names) => format!("iifname != {}", format_interfaces(names)),
        Word::NotTo(names) => format!("oifname != {}", format_interfaces(names)),
        Word::To(protocol, set) => format!("{protocol} dport @{set}"),
        Word::From(protocol, set) => format!("{protocol} sport @{set}"),
        Word::ToPorts(protocol, ports) => {
            let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
            format!("{protocol} dport {}", format_list(&ports))
        }
        Word::Dhcp4 => "udp sport 67 udp dport 68".into(),
        Word::Dhcp6 => "ip6 saddr fe80::/10 udp dport 546".into(),
        Word::FromLocal => "fib saddr type local".into(),
        Word::Local => "fib daddr type local".into(),
        Word::Held { family, view, set, inside } => {
            format!(
                "{} {}{}",
                format_view(*family, *view, set.form()),
                if *inside { "" } else { "!= " },
                of(*set, *family)
            )
        }
        Word::Banned(family) => {
            format!("{} {}", banned_field(*family), of(AddressSet::Ban, *family))
        }
        Word::Asked(protocol, set) => {
            format!("meta l4proto {protocol} ct original proto-dst @{set}")
        }
        Word::Original => "ct direction original".into(),
        Word::Reply => "ct direction reply".into(),
        Word::Untracked => "ct state invalid,untracked".into(),
        Word::OutTo(names) => format!("oifname {}", format_interfaces(names)),
        Word::SendOn(to) => {
            format!("dnat {} to {to}", if to.address.is_ipv4() { "ip" } else { "ip6" })
        }
        Word::Established => "ct state established".into(),
        Word::Related => "ct state related".into(),
        Word::Redirected => "ct status dnat".into(),
        Word::New => "ct state new".into(),
        Word::Rst => "tcp flags & rst == rst".into(),
        Word::Syn => "tcp flags & (fin | syn | rst | ack) == syn".into(),
        Word::Icmp(family, types) => {
            let name = if *family == Family::V4 { "icmp" } else { "icmpv6" };
            let types: Vec<_> = types.iter().map(|(_, name)| (*name).to_owned()).collect();
            format!("{name} type {}", format_list(&types))
        }
        Word::Is(protocol) => format!("meta l4proto {protocol}"),
        Word::Ban(family, time) => {
            format!(
                "update {} {{ {} timeout {} }}",
                of(AddressSet::Ban, *family),
                banned_field(*family),
                format_duration(*time)
            )
        }
        Word::Counter => "counter".into(),
        Word::Log { group, prefix, at_once } => {
            let prefix =
                if prefix.is_empty() { String::new() } else { format!("prefix \"{prefix}\" ") };
            format!("log {prefix}group {group}{}", if *at_once { " queue-threshold 1" } else { "" })
        }
        Word::Plain(Family::V4) => "ip dscp set cs0".into(),
        Word::Plain(Family::V6) => "ip6 dscp set cs0 ip6 flowlabel set 0".into(),
        Word::Notrack => "notrack".into(),
        Word::Accept => "accept".into(),
        Word::Drop => "drop".into(),
        Word::Return => "return".into(),
        Word::Jump(chain) => format!("jump {chain}"),
        Word::Reset => "reject with tcp reset".into(),
        Word::Unreachable => "reject with icmpx type port-unreachable".into(),
    }
}

fn format_interfaces(names: &[String]) -> String {
    format_list(&names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>())
}

/// One thing bare, several in braces, as `nft` itself lists them.
fn format_list(items: &[String]) -> String {
    match items {
        [one] => one.clone(),
        many => format!("{{ {} }}", many.join(", ")),
    }
}

/// A time as `nft` reads it.
fn format_duration(time: Duration) -> String {
    if time.subsec_millis() == 0 {
        format!("{}s", time.as_secs())
    } else {
        format!("{}ms", time.as_millis())
    }
}
