//! Ports as the configuration and the firewall speak of them: `tcp/22`, `udp/40000-40010`.

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum Protocol {
    /// TCP, IP protocol 6.
    Tcp,
    /// UDP, IP protocol 17.
    Udp,
}

impl Protocol {
    /// The IP protocol number (IANA).
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// The protocol with an IP protocol number, if it is one of ours.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Tcp, Self::Udp].into_iter().find(|protocol| protocol.number() == number)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// An inclusive range of ports, one port when both ends are equal. `1 <= first <= last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct PortRange {
    /// Lowest port.
    pub first: u16,
    /// Highest port.
    pub last: u16,
}

impl PortRange {
    /// One port.
    #[must_use]
    pub fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// Returns true when `port` lies within.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Returns true when the two ranges share a port.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Merges ranges into ascending ones that neither overlap nor touch.
#[must_use]
pub fn merge_ports(ranges: impl IntoIterator<Item = PortRange>) -> Vec<PortRange> {
    let mut sorted: Vec<PortRange> = ranges.into_iter().collect();
    sorted.sort_unstable();
    let mut merged: Vec<PortRange> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.first <= last.last.saturating_add(1) => {
                last.last = last.last.max(range.last);
            }
            _ => merged.push(range),
        }
    }
    merged
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// A port as everybody writes it: elsewhere `022` is octal, and `+22` nothing.
fn parse_port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain)
}

impl FromStr for PortRange {
    type Err = PortError;

    fn from_str(s: &str) -> Result<Self, PortError> {
        let bad = || PortError(s.to_owned());
        let (a, b) = s.split_once('-').unwrap_or((s, s));
        let (first, last) = (parse_port(a).ok_or_else(bad)?, parse_port(b).ok_or_else(bad)?);
        if first == 0 || first > last { Err(bad()) } else { Ok(Self { first, last }) }
    }
}

/// A range of ports of one protocol: `tcp/22`, `udp/1000-2000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct ProtoPorts {
    /// Protocol.
    pub protocol: Protocol,
    /// Ports.
    pub range: PortRange,
}

impl fmt::Display for ProtoPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol, self.range)
    }
}

impl FromStr for ProtoPorts {
    type Err = PortError;

    fn from_str(s: &str) -> Result<Self, PortError> {
        let (proto, ports) = s.split_once('/').ok_or_else(|| PortError(s.to_owned()))?;
        let protocol = match proto {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err(PortError(s.to_owned())),
        };
        Ok(Self { protocol, range: ports.parse()? })
    }
}

/// A text that is no port or range of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a port: write tcp/22, udp/53 or tcp/1000-2000, with ports from 1 to 65535")]
pub struct PortError(pub String);
