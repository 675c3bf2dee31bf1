//! Sets and maps of other people's tables.

use super::packet::{Byte, Doubt};
use super::registers::{Truth, compare, doubt_of, equals};
use crate::firewall::netlink::message::{NLM_F_DUMP, single};
use crate::firewall::netlink::{Attrs, NetlinkError, NetlinkSocket, some_if_found};
use crate::firewall::nftables::abi::{self, data, element, msg, set};
use crate::firewall::nftables::attribute::{Attribute as _, Fields};
use crate::firewall::nftables::expression::RuleVerdict;

/// Value that a map has for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MapValue {
    /// For a register.
    Bytes(Vec<u8>),
    /// For the packet.
    Verdict(RuleVerdict),
}

/// Element: the key, or with an end the first of an inclusive interval.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SetEntry {
    first: Vec<u8>,
    last: Option<Vec<u8>>,
    value: Option<MapValue>,
}

/// Set or map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ForeignSet {
    entries: Vec<SetEntry>,
    /// Value of the element `*`, which stands for every other key.
    catch_all: Option<Option<MapValue>>,
    /// Lengths of the parts of a concatenation, bytes, each padded to four.
    fields: Vec<usize>,
    /// Bytes of a key.
    key_len: usize,
}

/// Result of a look-up: whether the key is there, and the value for each element that may be it.
pub(super) struct LookUp<'s> {
    /// Truth of "the key is in the set".
    pub(super) truth: Truth,
    /// Values of the elements that it may be.
    pub(super) values: Vec<Option<&'s MapValue>>,
}

impl ForeignSet {
    /// Bytes of a key.
    pub(super) fn key_len(&self) -> usize {
        self.key_len
    }

    /// Keys, and ends of intervals.
    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().flat_map(|entry| {
            [Some(entry.first.as_slice()), entry.last.as_deref()].into_iter().flatten()
        })
    }

    /// Looks a key up.
    pub(super) fn find(&self, key: &[Byte]) -> LookUp<'_> {
        let (mut doubt, mut values) = (None, Vec::new());
        for entry in &self.entries {
            match self.matches(entry, key) {
                Truth::Fails => {}
                Truth::Holds => {
                    return LookUp { truth: Truth::Holds, values: vec![entry.value.as_ref()] };
                }
                Truth::Doubted(why) => {
                    doubt = doubt.max(Some(why));
                    values.push(entry.value.as_ref());
                }
            }
        }
        if let Some(value) = &self.catch_all {
            values.push(value.as_ref());
            return LookUp { truth: Truth::Holds, values };
        }
        LookUp { truth: doubt.map_or(Truth::Fails, Truth::Doubted), values }
    }

    fn matches(&self, entry: &SetEntry, key: &[Byte]) -> Truth {
        let Some(last) = &entry.last else { return equals(key, &entry.first) };
        let whole = [key.len()];
        let fields: &[usize] = if self.fields.is_empty() { &whole } else { &self.fields };
        let (mut start, mut doubt) = (0, None);
        for len in fields {
            let end = start + len;
            let parts = (key.get(start..end), entry.first.get(start..end), last.get(start..end));
            let (Some(part), Some(first), Some(last)) = parts else {
                return Truth::Doubted(doubt_of(key).unwrap_or(Doubt::Unread));
            };
            match (compare(part, first), compare(part, last)) {
                (Ok(low), Ok(high)) if low.is_lt() || high.is_gt() => return Truth::Fails,
                (Ok(_), Ok(_)) => {}
                (Err(why), _) | (_, Err(why)) => doubt = doubt.max(Some(why)),
            }
            start = end;
        }
        doubt.map_or(Truth::Holds, Truth::Doubted)
    }

    /// Adds the elements of a message.
    fn take(&mut self, attrs: Attrs<'_>, starts: &mut Vec<Start>) {
        for (_, item) in attrs.nested(element::ELEMENTS).into_iter().flatten() {
            let item = Attrs(item);
            let bytes =
                |kind| item.nested(kind).and_then(|key| key.get(data::VALUE)).map(<[u8]>::to_vec);
            let value = || {
                let found = item.nested(element::DATA)?;
                let verdict = || RuleVerdict::get(&mut Fields::new(item), element::DATA);
                match found.get(data::VALUE) {
                    Some(bytes) => Some(MapValue::Bytes(bytes.to_vec())),
                    None => verdict().map(MapValue::Verdict),
                }
            };
            let ends = item.u32(element::FLAGS).unwrap_or_default() & element::INTERVAL_END != 0;
            match bytes(element::KEY) {
                None => self.catch_all = Some(value()),
                Some(first) => starts.push(Start {
                    ends,
                    last: bytes(element::KEY_END),
                    value: value(),
                    first,
                }),
            }
        }
    }
}

/// Element as the kernel lists it: of a plain interval the start and the first value behind it are
/// elements of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Start {
    first: Vec<u8>,
    ends: bool,
    last: Option<Vec<u8>>,
    value: Option<MapValue>,
}

/// Reads a set or map. One that is missing is gone since the rules were read: it holds nothing.
pub(super) fn read_set(
    netlink: &mut NetlinkSocket,
    family: u8,
    table: &str,
    name: &str,
) -> Result<ForeignSet, NetlinkError> {
    let mut set = ForeignSet::default();
    let mut intervals = false;
    let request = single(msg::GET_SET, 0, family, 0, |n| {
        n.put_str(abi::TABLE_ATTRIBUTE, table);
        n.put_str(set::NAME, name);
    });
    let asked = netlink.request("set", &request, &mut |m| {
        let attrs = m.attrs();
        let flags = attrs.u32(set::FLAGS).unwrap_or_default();
        intervals |= flags & set::INTERVAL != 0;
        set.key_len = attrs.u32(set::KEY_LEN).unwrap_or_default() as usize;
        let parts = attrs.nested(set::DESC).and_then(|desc| desc.nested(set::DESC_CONCAT));
        let len = |part: &[u8]| Attrs(part).u32(set::FIELD_LEN).unwrap_or_default() as usize;
        set.fields =
            parts.into_iter().flatten().map(|(_, part)| len(part).next_multiple_of(4)).collect();
    });
    if some_if_found(asked)?.is_none() {
        return Ok(set);
    }
    let request = single(msg::GET_ELEMENT, NLM_F_DUMP, family, 0, |n| {
        n.put_str(abi::TABLE_ATTRIBUTE, table);
        n.put_str(element::SET, name);
    });
    let mut starts = Vec::new();
    let found = netlink.dump("set", &request, |m, out: &mut Vec<Start>| {
        set.take(m.attrs(), out);
    });
    starts.extend(some_if_found(found)?.unwrap_or_default());
    set.entries = if intervals && set.fields.is_empty() {
        join_intervals(starts)
    } else {
        let entry =
            |start: Start| SetEntry { first: start.first, last: start.last, value: start.value };
        starts.into_iter().map(entry).collect()
    };
    Ok(set)
}

/// Makes inclusive intervals of starts and ends.
fn join_intervals(mut starts: Vec<Start>) -> Vec<SetEntry> {
    // An end at the value of a start belongs to the interval before.
    starts.sort_by(|a, b| (&a.first, !a.ends).cmp(&(&b.first, !b.ends)));
    let mut out: Vec<SetEntry> = Vec::new();
    let mut open: Option<Start> = None;
    let close = |open: &mut Option<Start>, end: Option<&[u8]>, out: &mut Vec<SetEntry>| {
        if let Some(start) = open.take() {
            let all_ones = || vec![0xff; start.first.len()];
            let last = end.map_or_else(all_ones, value_before);
            out.push(SetEntry { last: Some(last), first: start.first, value: start.value });
        }
    };
    for start in starts {
        close(&mut open, Some(&start.first), &mut out);
        if !start.ends {
            open = Some(start);
        }
    }
    close(&mut open, None, &mut out);
    out
}

/// The value before one, as of a number in network order.
fn value_before(value: &[u8]) -> Vec<u8> {
    let mut before = value.to_vec();
    for byte in before.iter_mut().rev() {
        let borrows = *byte == 0;
        *byte = byte.wrapping_sub(1);
        if !borrows {
            break;
        }
    }
    before
}
