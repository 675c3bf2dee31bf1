//! Keys of sets whose elements are nothing but a key or one end of an interval.

use super::abi::{self, data, element, msg};
use crate::firewall::netlink::message::{NLM_F_DUMP, single};
use crate::firewall::netlink::{Attrs, NetlinkError, NetlinkSocket, Nla, some_if_found};

/// Key as the kernel keeps it. Ascending, the start of an interval comes before an end at the same
/// value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SetKey {
    /// Bytes as the kernel compares them; empty for the catch-all element.
    pub(super) value: Vec<u8>,
    /// First value after an interval.
    pub(super) ends_interval: bool,
}

impl SetKey {
    /// Key without interval, or the first of one.
    pub(super) fn new(value: impl Into<Vec<u8>>) -> Self {
        Self { value: value.into(), ends_interval: false }
    }

    /// True if it is the element `*`, which has no key.
    pub(super) fn is_catch_all(&self) -> bool {
        self.value.is_empty()
    }

    /// First value after an interval.
    pub(super) fn end(value: impl Into<Vec<u8>>) -> Self {
        Self { value: value.into(), ends_interval: true }
    }
}

/// Ends of an inclusive interval; one that reaches the last value has no end.
pub(super) fn interval_keys(first: &[u8], last: &[u8]) -> Vec<SetKey> {
    let mut after = last.to_vec();
    let overflows = after.iter_mut().rev().all(|byte| {
        *byte = byte.wrapping_add(1);
        *byte == 0
    });
    let end = (!overflows).then_some(SetKey::end(after));
    std::iter::once(SetKey::new(first)).chain(end).collect()
}

/// Writes the elements of a list.
pub(super) fn put_keys(n: &mut Nla, keys: &[SetKey]) {
    for key in keys {
        n.nest(abi::LIST_ELEM, |n| {
            n.nest(element::KEY, |n| n.put(data::VALUE, &key.value));
            if key.ends_interval {
                n.put_u32(element::FLAGS, element::INTERVAL_END);
            }
        });
    }
}

/// Reads the keys of a set, ascending; `None` when it is missing.
pub(super) fn read_keys(
    netlink: &mut NetlinkSocket,
    family: u8,
    table: &str,
    set: &str,
) -> Result<Option<Vec<SetKey>>, NetlinkError> {
    let request = single(msg::GET_ELEMENT, NLM_F_DUMP, family, 0, |n| {
        n.put_str(abi::TABLE_ATTRIBUTE, table);
        n.put_str(element::SET, set);
    });
    let found = netlink.dump("set", &request, |m, out: &mut Vec<SetKey>| {
        for (_, item) in m.attrs().nested(element::ELEMENTS).into_iter().flatten() {
            let item = Attrs(item);
            let flags = item.u32(element::FLAGS).unwrap_or_default();
            let value = item.nested(element::KEY).and_then(|key| key.get(data::VALUE));
            let ends_interval = flags & element::INTERVAL_END != 0;
            out.push(SetKey { value: value.unwrap_or_default().to_vec(), ends_interval });
        }
    });
    let mut keys = some_if_found(found)?;
    if let Some(keys) = &mut keys {
        keys.sort();
    }
    Ok(keys)
}

/// True if a value is one of these ascending keys, or within one of their intervals.
pub(super) fn contains(keys: &[SetKey], value: &[u8]) -> bool {
    if keys.iter().all(|key| !key.ends_interval) {
        return keys.iter().any(|key| key.value == value);
    }
    // A start and an end at one value are two intervals that touch: it is within the second.
    let reached = keys.partition_point(|key| key.value.as_slice() <= value);
    let Some((last, before)) = keys.get(..reached).and_then(|keys| keys.split_last()) else {
        return false;
    };
    !last.ends_interval || before.last().is_some_and(|key| *key == SetKey::new(&*last.value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_and_plain_keys() {
        let start = |n: u16| SetKey::new(n.to_be_bytes());
        let end = |n: u16| SetKey::end(n.to_be_bytes());
        let mut intervals = vec![end(0), start(22), end(24), start(24), end(30)];
        intervals.sort();
        let within = |n: u16| contains(&intervals, &n.to_be_bytes());
        assert_eq!(
            [21, 22, 23, 24, 29, 30, 99].map(within),
            [false, true, true, true, true, false, false]
        );
        let plain = vec![start(22), start(80)];
        assert!(contains(&plain, &22u16.to_be_bytes()) && !contains(&plain, &23u16.to_be_bytes()));
    }
}
