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
