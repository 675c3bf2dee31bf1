//! Elements: what a key is in bytes, and what is written beside it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::abi::{self, element, msg, rule};
use super::model::{ALL, BAN, Family, GRANT, LIVE, Pair, SEQUENCE};
use crate::firewall::netlink::message::{APPEND, CREATE};
use crate::firewall::netlink::{Attrs, Batch, Nla};
use crate::ports::Protocol;

/// Elements in one message: with the longest comment they stay below the 64 KiB of an attribute.
const PER_MESSAGE: usize = 128;
/// Type of nft's comment in an element's userdata (libnftnl `NFTNL_UDATA_SET_ELEM_COMMENT`).
const COMMENT: u8 = 0;

/// What the kernel's counter beside an element says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Count {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

/// The body of a counter expression.
pub(super) fn counter(n: &mut Nla, count: Count) {
    n.put_str(rule::EXPR_NAME, "counter");
    n.nest(rule::EXPR_DATA, |n| {
        n.put_u64(abi::counter::BYTES, count.bytes);
        n.put_u64(abi::counter::PACKETS, count.packets);
    });
}

/// One element of a set with timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Key {
    /// A granted port.
    Port(IpAddr, Protocol, u16),
    /// A source that may reach everything.
    All(IpAddr),
    /// A source with a live grant.
    Live(IpAddr),
    /// A source in the middle of a sequence.
    Sequence(IpAddr),
    /// A banned source; IPv6 counts by its /64.
    Ban(IpAddr),
}

impl Key {
    fn pair(self) -> (Pair, IpAddr) {
        match self {
            Self::Port(source, ..) => (GRANT, source),
            Self::All(source) => (ALL, source),
            Self::Live(source) => (LIVE, source),
            Self::Sequence(source) => (SEQUENCE, source),
            Self::Ban(source) => (BAN, source),
        }
    }

    /// The source of a ban.
    pub(super) fn banned(self) -> Option<IpAddr> {
        if let Self::Ban(source) = self { Some(source) } else { None }
    }

    /// Whether its set counts.
    pub(super) fn counted(self) -> bool {
        matches!(self, Self::Port(..) | Self::All(_))
    }

    /// The set it lives in.
    pub(super) fn set(self) -> &'static str {
        let (pair, source) = self.pair();
        pair.of(if source.is_ipv4() { Family::V4 } else { Family::V6 })
    }

    /// Address, then for a port: protocol and port, each padded to four bytes.
    fn write(self, out: &mut Nla) {
        let mut key = [0; 24];
        let (_, source) = self.pair();
        let mut len = match source {
            IpAddr::V4(a) => put(&mut key, 0, &a.octets()),
            IpAddr::V6(a) if matches!(self, Self::Ban(_)) => put(&mut key, 0, &half(a).octets()),
            IpAddr::V6(a) => put(&mut key, 0, &a.octets()),
        };
        if let Self::Port(_, protocol, port) = self {
            put(&mut key, len, &[protocol.number()]);
            put(&mut key, len + 4, &port.to_be_bytes());
            len += 8;
        }
        out.put(abi::DATA_VALUE, key.get(..len).unwrap_or_default());
    }

    /// Reads the key of an element of the pair's sets back.
    pub(super) fn read(pair: Pair, bytes: &[u8]) -> Option<Self> {
        let (source, rest) = match bytes.len() {
            4 | 12 => {
                let (a, rest) = bytes.split_first_chunk::<4>()?;
                (IpAddr::V4(Ipv4Addr::from(*a)), rest)
            }
            _ => {
                let (a, rest) = bytes.split_first_chunk::<16>()?;
                (IpAddr::V6(Ipv6Addr::from(*a)), rest)
            }
        };
        let (key, wanted) = match pair {
            GRANT => {
                let (protocol, port) = rest.split_first_chunk::<4>()?;
                let protocol = match protocol.first()? {
                    6 => Protocol::Tcp,
                    17 => Protocol::Udp,
                    _ => return None,
                };
                (Self::Port(source, protocol, u16::from_be_bytes(*port.first_chunk::<2>()?)), 8)
            }
            ALL => (Self::All(source), 0),
            LIVE => (Self::Live(source), 0),
            SEQUENCE => (Self::Sequence(source), 0),
            BAN => (Self::Ban(source), 0),
            _ => return None,
        };
        (rest.len() == wanted).then_some(key)
    }
}

fn put(key: &mut [u8; 24], at: usize, bytes: &[u8]) -> usize {
    let end = at + bytes.len();
    if let Some(place) = key.get_mut(at..end) {
        place.copy_from_slice(bytes);
    }
    end
}

/// The /64 of an address.
pub(super) fn half(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX))
}

/// An element to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) key: Key,
    /// The time it was given.
    pub(super) ttl: Duration,
    /// The time that is left of it.
    pub(super) left: Duration,
    /// Shown by `nft list`; at most 253 bytes.
    pub(super) comment: String,
    /// Where its counter begins.
    pub(super) count: Count,
}

impl Element {
    /// An element whose time begins now.
    pub(super) fn new(key: Key, ttl: Duration) -> Self {
        Self { key, ttl, left: ttl, comment: String::new(), count: Count::default() }
    }
}

/// An element as the kernel tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) key: Key,
    pub(super) left: Duration,
    pub(super) comment: String,
    pub(super) count: Count,
}

/// A time in milliseconds as the kernel wants it; never 0, which means "for ever" there.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Writes elements with their time, whether they exist or not: add, delete, add. A plain add
/// would keep the old timer (before Linux 6.12), a plain delete would fail on a missing element,
/// and in one transaction no packet sees the moment between.
pub(super) fn replace(batch: &mut Batch, elements: &[Element]) {
    for run in runs(elements, |e| e.key.set()) {
        add(batch, run, 0);
        message(batch, msg::DEL_ELEMENT, 0, run, |n, e| e.key.write(n), |_, _| ());
        add(batch, run, 0);
    }
}

/// Adds elements. One that exists keeps its timer, or with `EXCLUSIVE` refuses the transaction.
pub(super) fn add(batch: &mut Batch, elements: &[Element], flags: u16) {
    for run in runs(elements, |e| e.key.set()) {
        message(
            batch,
            msg::NEW_ELEMENT,
            CREATE | APPEND | flags,
            run,
            |n, e| e.key.write(n),
            |n, e| {
                n.put_u64(element::TIMEOUT, millis(e.ttl));
                if e.left != e.ttl {
                    n.put_u64(element::EXPIRATION, millis(e.left));
                }
                if !e.comment.is_empty() {
                    n.put(element::USERDATA, &userdata(&e.comment));
                }
                // Without one the kernel makes the set's own, which begins at zero.
                if e.key.counted() && e.count != Count::default() {
                    n.nest(element::EXPRESSION, |n| counter(n, e.count));
                }
            },
        );
    }
}

/// Deletes elements; a missing one makes the whole transaction fail.
pub(super) fn delete(batch: &mut Batch, keys: &[Key]) {
    for run in runs(keys, |key| key.set()) {
        message(batch, msg::DEL_ELEMENT, 0, run, |n, key| key.write(n), |_, _| ());
    }
}

/// Neighbours of the same set, in pieces that fit into a message.
pub(super) fn runs<T>(items: &[T], set: impl Fn(&T) -> &'static str) -> impl Iterator<Item = &[T]> {
    items.chunk_by(move |a, b| set(a) == set(b)).flat_map(|run| run.chunks(PER_MESSAGE))
}

trait Keyed {
    fn set(&self) -> &'static str;
}

impl Keyed for Element {
    fn set(&self) -> &'static str {
        self.key.set()
    }
}

impl Keyed for Key {
    fn set(&self) -> &'static str {
        Key::set(*self)
    }
}

fn message<T: Keyed>(
    batch: &mut Batch,
    kind: u16,
    flags: u16,
    items: &[T],
    key: impl Fn(&mut Nla, &T),
    beside: impl Fn(&mut Nla, &T),
) {
    let Some(set) = items.first().map(Keyed::set) else { return };
    batch.push(kind, flags, abi::INET, set, |n| {
        in_set(n, set, |n| {
            for item in items {
                n.nest(abi::LIST_ELEM, |n| {
                    n.nest(element::KEY, |n| key(n, item));
                    beside(n, item);
                });
            }
        });
    });
}

/// Table, set and a list of elements.
pub(super) fn in_set(n: &mut Nla, set: &str, elements: impl FnOnce(&mut Nla)) {
    n.put_str(abi::TABLE, super::TABLE);
    n.put_str(element::SET, set);
    n.nest(element::ELEMENTS, elements);
}

/// The body of a lookup of keys of one set.
pub(super) fn these(n: &mut Nla, keys: &[Key]) {
    let Some(first) = keys.first() else { return };
    in_set(n, first.set(), |n| {
        for key in keys {
            n.nest(abi::LIST_ELEM, |n| n.nest(element::KEY, |n| key.write(n)));
        }
    });
}

/// `u8 type, u8 length, text, NUL`, as nft writes a comment.
fn userdata(comment: &str) -> Vec<u8> {
    let length = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
    let mut out = vec![COMMENT, length];
    out.extend(comment.bytes().take(usize::from(length) - 1));
    out.push(0);
    out
}

/// Reads the elements of a message about the pair's sets; elements without a timer count as endless.
pub(super) fn read(pair: Pair, attrs: Attrs<'_>, each: &mut impl FnMut(Found)) {
    let Some(list) = attrs.nested(element::ELEMENTS) else { return };
    for (_, bytes) in list {
        let (mut key, mut left, mut comment) = (None, Duration::from_secs(u64::from(u32::MAX)), "");
        let mut count = Count::default();
        for (kind, value) in Attrs(bytes) {
            match kind {
                element::KEY => {
                    key = Attrs(value).get(abi::DATA_VALUE).and_then(|bytes| Key::read(pair, bytes));
                }
                element::EXPIRATION => {
                    if let Ok(ms) = value.try_into().map(u64::from_be_bytes) {
                        left = Duration::from_millis(ms);
                    }
                }
                element::USERDATA => comment = text(value),
                element::EXPRESSION => {
                    let data = Attrs(value).nested(rule::EXPR_DATA).unwrap_or(Attrs(&[]));
                    let of = |kind| data.u64(kind).unwrap_or_default();
                    count = Count { packets: of(abi::counter::PACKETS), bytes: of(abi::counter::BYTES) };
                }
                _ => (),
            }
        }
        if let Some(key) = key {
            each(Found { key, left, comment: comment.to_owned(), count });
        }
    }
}

/// The comment in an element's userdata.
fn text(mut userdata: &[u8]) -> &str {
    while let [kind, length, rest @ ..] = userdata {
        let Some((value, rest)) = rest.split_at_checked(usize::from(*length)) else { break };
        if *kind == COMMENT {
            return std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).unwrap_or_default();
        }
        userdata = rest;
    }
    ""
}
