//! Parsers of single values: networks, interfaces, hosts, sets of ports.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use spa_proto::HostAddr;

use super::findings::ValueError;
use crate::domain::ports::{PortRange, ProtoPorts, Protocol, merge_ports};

/// Longest name of an interface: `IFNAMSIZ` of linux/if.h without its NUL.
const LONGEST_INTERFACE: usize = 15;

/// A network as written; the bits behind its prefix are kept for the caller to complain about.
pub(super) fn parse_network(text: &str) -> Result<IpNet, ValueError> {
    // Strictly: elsewhere `010.0.0.0` is octal. An IPv4 network in IPv6's form covers nobody, as
    // sources are looked at as IPv4.
    let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
    let plain = |bits: &str| {
        bits.bytes().all(|b| b.is_ascii_digit()) && (bits == "0" || !bits.starts_with('0'))
    };
    let network = address.parse::<IpAddr>().ok().and_then(|address| match bits {
        _ if address.to_canonical() != address => None,
        None => Some(IpNet::from(address)),
        Some(bits) if plain(bits) => IpNet::new(address, bits.parse().ok()?).ok(),
        Some(_) => None,
    });
    network.ok_or_else(|| {
        format!(
            "`{}` is not a network: write `192.0.2.0/24`, `2001:db8::/48` or one address",
            text.escape_debug()
        )
        .into()
    })
}

/// A name that the kernel takes for an interface.
pub(super) fn parse_interface(text: &str) -> Result<String, ValueError> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/:\"\\*,".contains(c);
    if text.is_empty()
        || text.len() > LONGEST_INTERFACE
        || text.contains(odd)
        || text == "."
        || text == ".."
    {
        let card = text.split(':').next().unwrap_or_default().escape_debug();
        let what = match text.chars().find(|c| ":*".contains(*c)) {
            Some(':') => format!("a label of an address on {card}; packets come in by {card}"),
            Some(_) => "a pattern; name each interface".to_owned(),
            None => "not the name of an interface".to_owned(),
        };
        Err(format!("`{}` is {what}: write it as `ip link` shows it", text.escape_debug()).into())
    } else {
        Ok(text.to_owned())
    }
}

/// A host that clients are told to knock at: a DNS name or an address, without a port.
pub(crate) fn parse_host(text: &str) -> Result<String, ValueError> {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    let plain = text.strip_suffix('.').unwrap_or(text);
    // A number that is no address is no name either (RFC 3696 section 2).
    let numeric = plain.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    let name = text.len() <= 253 && plain.split('.').all(label) && !numeric;
    let possible = text.parse::<IpAddr>().is_ok_and(|address| HostAddr::new(address).is_some());
    if possible || name {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{}` is not a host: write a name or an address, without a port",
            text.escape_debug()
        )
        .into())
    }
}

/// Every single port of some ranges, each once.
pub(super) fn expand_ports<'a>(
    ports: impl IntoIterator<Item = &'a ProtoPorts>,
) -> BTreeSet<(Protocol, u16)> {
    ports
        .into_iter()
        .flat_map(|p| (p.range.first..=p.range.last).map(|port| (p.protocol, port)))
        .collect()
}

/// Ranges of ports, sorted, joined where they touch or overlap.
pub(super) fn merge_ranges(ports: impl IntoIterator<Item = ProtoPorts> + Clone) -> Vec<ProtoPorts> {
    let of = |protocol| {
        let ranges = ports.clone().into_iter().filter(move |p| p.protocol == protocol);
        merge_ports(ranges.map(|p| p.range))
            .into_iter()
            .map(move |range| ProtoPorts { protocol, range })
    };
    [Protocol::Tcp, Protocol::Udp].into_iter().flat_map(of).collect()
}

/// Counts the ports of `range` that no range of `without` covers.
pub(super) fn ports_left(range: PortRange, without: &[PortRange]) -> usize {
    (range.first..=range.last).filter(|port| !without.iter().any(|w| w.contains(*port))).count()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn words() {
        for (text, fine) in [
            ("192.0.2.1", true),
            ("192.0.2.0/24", true),
            ("2001:db8::/32", true),
            ("192.0.2.0/33", false),
            ("example.org", false),
            ("", false),
        ] {
            assert_eq!(parse_network(text).is_ok(), fine, "{text}");
        }
        for (text, fine) in [
            ("eth0", true),
            ("wan0.100", true),
            ("", false),
            ("a/b", false),
            ("a b", false),
            ("..", false),
            ("sixteen-letters-", false),
        ] {
            assert_eq!(parse_interface(text).is_ok(), fine, "{text}");
        }
        for (text, fine) in [
            ("gate.example.org", true),
            ("gate", true),
            ("2001:db8::1", true),
            ("192.0.2.1", true),
            ("a:22", false),
            ("999.999.999.999", false),
            ("192.0.2", false),
            ("224.0.0.1", false),
            ("::", false),
            ("7up.example.org", true),
            ("", false),
            ("a..b", false),
            ("-a", false),
            ("a b", false),
        ] {
            assert_eq!(parse_host(text).is_ok(), fine, "{text}");
        }
    }

    #[test]
    fn ranges() {
        let parse =
            |list: &[&str]| list.iter().map(|p| p.parse().unwrap()).collect::<Vec<ProtoPorts>>();
        let joined = merge_ranges(parse(&[
            "tcp/30-40",
            "udp/1",
            "tcp/1-10",
            "tcp/11-20",
            "tcp/5-15",
            "tcp/65535",
            "tcp/65000-65535",
        ]));
        assert_eq!(joined, parse(&["tcp/1-20", "tcp/30-40", "tcp/65000-65535", "udp/1"]));
        assert_eq!(expand_ports(&parse(&["tcp/1-3", "tcp/2-4", "udp/2"])).len(), 5);
        assert_eq!(
            ports_left(
                PortRange { first: 1, last: 10 },
                &["2-3".parse().unwrap(), "9-20".parse().unwrap()]
            ),
            6
        );
        assert_eq!(ports_left(PortRange { first: 1, last: 65535 }, &[]), 65535);
    }
}
