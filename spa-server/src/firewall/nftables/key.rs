//! Keys of the elements with timers: which set an element lives in, and its bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::abi::{self, element};
use super::model::{
    ALL, ALL_FLOW, ALL_FLOW_WIDE, ALL_WIDE, BAN, FLOW, FLOW_WIDE, Family, Form, GRANT, GRANT_WIDE,
    INSIDE, INSIDE_FLOW, INSIDE_FLOW_WIDE, INSIDE_WIDE, LIVE, LIVE_WIDE, Pair, SEQUENCE,
};
use crate::firewall::netlink::{Attrs, Nla};
use crate::ports::Protocol;

/// What an element says of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum What {
    /// They may reach this port of the host.
    Port(Protocol, u16),
    /// They may reach this port of a host behind this one.
    Inside(Protocol, u16),
    /// They may reach everything on this host.
    All,
    /// They have a live grant.
    Live,
    /// They are in the middle of a sequence.
    Sequence,
    /// They are banned; IPv6 counts by /64.
    Ban,
}

/// One element of a set with timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) what: What,
    /// In the set that is asked for packets of known flows, which does not count.
    pub(super) flow: bool,
    pub(super) first: IpAddr,
    /// The same as `first`, but for wide grants.
    pub(super) last: IpAddr,
}

impl Key {
    /// About one address.
    pub(super) fn new(what: What, source: IpAddr) -> Self {
        Self { what, flow: false, first: source, last: source }
    }

    /// A ban of a source, IPv6 by its /64.
    pub(super) fn ban(source: IpAddr) -> Self {
        let source = match source {
            IpAddr::V4(_) => source,
            IpAddr::V6(a) => IpAddr::V6(half(a)),
        };
        Self::new(What::Ban, source)
    }

    /// The source of a ban.
    pub(super) fn banned(self) -> Option<IpAddr> {
        (self.what == What::Ban).then_some(self.first)
    }

    /// Whether the other's addresses are all among this one's.
    pub(super) fn covers(&self, first: IpAddr, last: IpAddr) -> bool {
        self.first <= first && last <= self.last && self.first.is_ipv4() == first.is_ipv4()
    }

    /// The pair of sets it lives in.
    pub(super) fn pair(self) -> Pair {
        let wide = self.first != self.last;
        match (self.what, self.flow, wide) {
            (What::Port(..), false, false) => GRANT,
            (What::Port(..), false, true) => GRANT_WIDE,
            (What::Port(..), true, false) => FLOW,
            (What::Port(..), true, true) => FLOW_WIDE,
            (What::Inside(..), false, false) => INSIDE,
            (What::Inside(..), false, true) => INSIDE_WIDE,
            (What::Inside(..), true, false) => INSIDE_FLOW,
            (What::Inside(..), true, true) => INSIDE_FLOW_WIDE,
            (What::All, false, false) => ALL,
            (What::All, false, true) => ALL_WIDE,
            (What::All, true, false) => ALL_FLOW,
            (What::All, true, true) => ALL_FLOW_WIDE,
            (What::Live, _, false) => LIVE,
            (What::Live, _, true) => LIVE_WIDE,
            (What::Sequence, ..) => SEQUENCE,
            (What::Ban, ..) => BAN,
        }
    }

    /// The set it lives in.
    pub(super) fn set(self) -> &'static str {
        self.pair().of(if self.first.is_ipv4() { Family::V4 } else { Family::V6 })
    }

    /// Where it goes in a transaction: set by set, those for known flows last, so that a full set
    /// is named by what it grants.
    pub(super) fn place(self) -> (bool, &'static str, Self) {
        (self.flow, self.set(), self)
    }

    /// Whether its set counts.
    pub(super) fn counted(self) -> bool {
        self.pair().counted
    }

    /// The key, for an interval both its ends.
    pub(super) fn write(self, n: &mut Nla) {
        let pair = self.pair();
        let (protocol, port) = match self.what {
            What::Port(protocol, port) | What::Inside(protocol, port) => {
                (Some(protocol.number()), port)
            }
            _ => (None, 0),
        };
        n.nest(element::KEY, |n| bytes(n, pair.form, self.first, protocol.unwrap_or(0), port));
        if pair.wide {
            n.nest(element::KEY_END, |n| {
                bytes(n, pair.form, self.last, protocol.unwrap_or(u8::MAX), port)
            });
        }
    }

    /// Reads the key of an element of the pair's sets back.
    pub(super) fn read(pair: Pair, element: Attrs<'_>) -> Option<Self> {
        let value = |kind| element.nested(kind)?.get(abi::data::VALUE);
        let start = value(element::KEY)?;
        let (first, rest) = address(start)?;
        let last = value(element::KEY_END)
            .map_or(Some(first), |end| address(end).map(|(last, _)| last))?;
        let port = || {
            let (protocol, port) = rest.split_first_chunk::<4>()?;
            let protocol = match protocol.first()? {
                6 => Protocol::Tcp,
                17 => Protocol::Udp,
                _ => return None,
            };
            Some((protocol, u16::from_be_bytes(*port.first_chunk::<2>()?)))
        };
        let (what, flow) = match pair {
            GRANT | GRANT_WIDE | FLOW | FLOW_WIDE => {
                let (protocol, port) = port()?;
                (What::Port(protocol, port), matches!(pair, FLOW | FLOW_WIDE))
            }
            INSIDE | INSIDE_WIDE | INSIDE_FLOW | INSIDE_FLOW_WIDE => {
                let (protocol, port) = port()?;
                (What::Inside(protocol, port), matches!(pair, INSIDE_FLOW | INSIDE_FLOW_WIDE))
            }
            ALL | ALL_WIDE => (What::All, false),
            ALL_FLOW | ALL_FLOW_WIDE => (What::All, true),
            LIVE | LIVE_WIDE => (What::Live, false),
            SEQUENCE => (What::Sequence, false),
            BAN => (What::Ban, false),
            _ => return None,
        };
        Some(Self { what, flow, first, last })
    }
}

/// Address, then as the form wants protocol and port, each padded to four bytes.
fn bytes(n: &mut Nla, form: Form, address: IpAddr, protocol: u8, port: u16) {
    let mut key = Vec::with_capacity(24);
    match address {
        IpAddr::V4(a) => key.extend(a.octets()),
        IpAddr::V6(a) => key.extend(a.octets()),
    }
    if form != Form::Address {
        key.extend([protocol, 0, 0, 0]);
    }
    if form == Form::AddressPort {
        key.extend(port.to_be_bytes());
        key.extend([0, 0]);
    }
    n.put(abi::data::VALUE, &key);
}

fn address(bytes: &[u8]) -> Option<(IpAddr, &[u8])> {
    // 4, 8 and 12 bytes are IPv4's, 16, 20 and 24 IPv6's.
    if bytes.len() < 16 {
        let (a, rest) = bytes.split_first_chunk::<4>()?;
        return Some((IpAddr::V4(Ipv4Addr::from(*a)), rest));
    }
    let (a, rest) = bytes.split_first_chunk::<16>()?;
    Some((IpAddr::V6(Ipv6Addr::from(*a)), rest))
}

/// The /64 of an address.
fn half(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX))
}
