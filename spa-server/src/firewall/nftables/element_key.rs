//! Keys of the elements with timers: which set an element lives in, and its bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::abi::{data, element};
use super::address_number::address_bytes;
use super::model::Form;
use crate::domain::ports::Protocol;
use crate::firewall::address_set::{AddressSet, Family, GrantScope};
use crate::firewall::netlink::{Attrs, Nla};

/// Statement of an element about its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum ElementSubject {
    /// Access to this port of the host.
    Port(Protocol, u16),
    /// Access to this port of a host behind this one.
    Inside(Protocol, u16),
    /// Access to everything on this host.
    All,
    /// Mark of a source with any live grant.
    Live,
    /// Mark of a source in the middle of a sequence.
    Sequence,
    /// Ban; IPv6 counts by /64.
    Ban,
}

/// Kind of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ElementKind {
    /// Statement that the element makes.
    pub(super) subject: ElementSubject,
    /// Set when it is asked for packets of known flows, and does not count.
    pub(super) flow: bool,
}

impl ElementKind {
    /// Set that its elements live in.
    fn set(self, wide: bool) -> AddressSet {
        let scope = match self.subject {
            ElementSubject::Port(..) => GrantScope::Port,
            ElementSubject::Inside(..) => GrantScope::Inside,
            ElementSubject::All => GrantScope::All,
            ElementSubject::Live => GrantScope::Live,
            ElementSubject::Sequence => return AddressSet::Sequence,
            ElementSubject::Ban => return AddressSet::Ban,
        };
        AddressSet::Grant { scope, flow: self.flow, wide }
    }

    /// True if its elements count.
    pub(super) fn counts(self) -> bool {
        self.set(false).counts()
    }

    /// Reads it from the set and the part of the key that follows the address.
    fn read(set: AddressSet, rest: &[u8]) -> Option<Self> {
        let (subject, flow) = match set {
            AddressSet::Grant { scope, flow, .. } => (grant_subject(scope, rest)?, flow),
            AddressSet::Sequence => (ElementSubject::Sequence, false),
            AddressSet::Ban => (ElementSubject::Ban, false),
            AddressSet::Never => return None,
        };
        Some(Self { subject, flow })
    }
}

fn grant_subject(scope: GrantScope, rest: &[u8]) -> Option<ElementSubject> {
    let port = || {
        let (protocol, port) = rest.split_first_chunk::<4>()?;
        let protocol = Protocol::from_number(*protocol.first()?)?;
        Some((protocol, u16::from_be_bytes(*port.first_chunk::<2>()?)))
    };
    Some(match scope {
        GrantScope::Port => port().map(|(protocol, port)| ElementSubject::Port(protocol, port))?,
        GrantScope::Inside => {
            port().map(|(protocol, port)| ElementSubject::Inside(protocol, port))?
        }
        GrantScope::All => ElementSubject::All,
        GrantScope::Live => ElementSubject::Live,
    })
}

/// Key of an element of a set with timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ElementKey {
    /// Statement, and whether for known flows.
    pub(super) kind: ElementKind,
    /// First address that it is about.
    pub(super) first: IpAddr,
    /// The same as `first`, but for wide grants.
    pub(super) last: IpAddr,
}

impl ElementKey {
    /// Key about one address, asked for first packets.
    pub(super) fn new(subject: ElementSubject, source: IpAddr) -> Self {
        let kind = ElementKind { subject, flow: false };
        Self { kind, first: source, last: source }
    }

    /// Ban of a source, IPv6 by its /64.
    pub(super) fn ban(source: IpAddr) -> Self {
        let source = match source {
            IpAddr::V4(_) => source,
            IpAddr::V6(a) => Ipv6Addr::from(u128::from(a) & !u128::from(u64::MAX)).into(),
        };
        Self::new(ElementSubject::Ban, source)
    }

    /// Source of a ban.
    pub(super) fn banned(self) -> Option<IpAddr> {
        (self.kind.subject == ElementSubject::Ban).then_some(self.first)
    }

    /// True if these addresses are all among its own.
    pub(super) fn covers(&self, first: IpAddr, last: IpAddr) -> bool {
        self.first <= first && last <= self.last && self.first.is_ipv4() == first.is_ipv4()
    }

    /// Set that it lives in, in both families.
    pub(super) fn set(self) -> AddressSet {
        self.kind.set(self.first != self.last)
    }

    /// Name of that set in its family.
    pub(super) fn set_name(self) -> &'static str {
        self.set().name(if self.first.is_ipv4() { Family::V4 } else { Family::V6 })
    }

    /// Order of elements in a transaction: set by set, those for known flows last, so that a full
    /// set is named by what it grants.
    pub(super) fn order(self) -> (bool, &'static str, Self) {
        (self.kind.flow, self.set_name(), self)
    }

    /// Bytes of the key; of an interval, those of its end as well.
    pub(super) fn raw(self) -> (Vec<u8>, Option<Vec<u8>>) {
        let set = self.set();
        let (protocol, port) = match self.kind.subject {
            ElementSubject::Port(protocol, port) | ElementSubject::Inside(protocol, port) => {
                (Some(protocol.number()), port)
            }
            _ => (None, 0),
        };
        let bytes = |address, protocol| key_bytes(set.form(), address, protocol, port);
        let end = set.is_wide().then(|| bytes(self.last, protocol.unwrap_or(u8::MAX)));
        (bytes(self.first, protocol.unwrap_or(0)), end)
    }

    /// Writes the key, for an interval both its ends.
    pub(super) fn write(self, n: &mut Nla) {
        let (key, end) = self.raw();
        n.nest(element::KEY, |n| n.put(data::VALUE, &key));
        if let Some(end) = end {
            n.nest(element::KEY_END, |n| n.put(data::VALUE, &end));
        }
    }

    /// Reads the key of an element of a set back.
    pub(super) fn read(set: AddressSet, element: Attrs<'_>) -> Option<Self> {
        let value = |kind| element.nested(kind)?.get(data::VALUE);
        let (first, rest) = read_address(value(element::KEY)?)?;
        let last = match value(element::KEY_END) {
            Some(end) => read_address(end)?.0,
            None => first,
        };
        Some(Self { kind: ElementKind::read(set, rest)?, first, last })
    }
}

/// Address, then as the form wants protocol and port, each padded to four bytes.
fn key_bytes(form: Form, address: IpAddr, protocol: u8, port: u16) -> Vec<u8> {
    let mut key = address_bytes(address);
    if form != Form::Address {
        key.extend([protocol, 0, 0, 0]);
    }
    if form == Form::AddressPort {
        key.extend(port.to_be_bytes());
        key.extend([0, 0]);
    }
    key
}

fn read_address(bytes: &[u8]) -> Option<(IpAddr, &[u8])> {
    // 4, 8 and 12 bytes are IPv4's, 16, 20 and 24 IPv6's.
    if bytes.len() < 16 {
        let (a, rest) = bytes.split_first_chunk::<4>()?;
        return Some((Ipv4Addr::from(*a).into(), rest));
    }
    let (a, rest) = bytes.split_first_chunk::<16>()?;
    Some((Ipv6Addr::from(*a).into(), rest))
}
