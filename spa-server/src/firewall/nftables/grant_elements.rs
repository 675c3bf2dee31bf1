//! Elements of the sets that grants fill, as they are, and what of them is no grant of ours.
//! Whoever else writes into the sets opens what nobody lists.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::abi::{self, data, element, msg};
use super::elements::{Element, comment_of, count_of};
use super::expression::Count;
use super::model::TABLE_NAME;
use crate::firewall::address_set::{AddressSet, Family};
use crate::firewall::netlink::message::{NLM_F_DUMP, single};
use crate::firewall::netlink::{Attrs, NetlinkError, NetlinkSocket, some_if_found};

/// Most by which the kernel's timer may differ from ours: longer than a busy machine lets us wait
/// between looking at the clock and writing.
const TIMER_TOLERANCE: Duration = Duration::from_secs(10);

/// Longest time for which the kernel still has what has ended here.
const LATE_END: Duration = Duration::from_secs(2);

/// Bytes of a key, and of the end of an interval.
pub(super) type RawKey = (Vec<u8>, Option<Vec<u8>>);

/// Element as it is in the kernel, whether or not it could be one of ours.
#[derive(Debug)]
pub(super) struct GrantElement {
    /// Name of the set.
    pub(super) set: &'static str,
    /// Key as the kernel has it.
    pub(super) key: RawKey,
    /// `None`: for ever.
    left: Option<Duration>,
    comment: String,
    /// Packets that it has let through.
    pub(super) count: Count,
}

/// Reads all elements of the sets that grants fill. A missing set has none.
pub(super) fn read_grant_elements(
    netlink: &mut NetlinkSocket,
) -> Result<Vec<GrantElement>, NetlinkError> {
    let mut out = Vec::new();
    for (set, family) in AddressSet::grants().flat_map(|set| Family::BOTH.map(|f| (set, f))) {
        let name = set.name(family);
        let request = single(msg::GET_ELEMENT, NLM_F_DUMP, abi::NFPROTO_INET, 0, |n| {
            n.put_str(abi::TABLE_ATTRIBUTE, TABLE_NAME);
            n.put_str(element::SET, name);
        });
        let found = netlink.dump(name, &request, |m, out| {
            let list = m.attrs().nested(element::ELEMENTS).into_iter().flatten();
            out.extend(list.map(|(_, bytes)| GrantElement::read(name, Attrs(bytes))));
        });
        out.extend(some_if_found(found)?.unwrap_or_default());
    }
    Ok(out)
}

impl GrantElement {
    fn read(set: &'static str, attrs: Attrs<'_>) -> Self {
        let value = |kind| Some(attrs.nested(kind)?.get(data::VALUE)?.to_vec());
        Self {
            set,
            key: (value(element::KEY).unwrap_or_default(), value(element::KEY_END)),
            left: attrs.u64(element::EXPIRATION).map(Duration::from_millis),
            comment: comment_of(attrs).to_owned(),
            count: count_of(attrs),
        }
    }

    fn is(&self, wanted: &Element) -> bool {
        let near = |left: Duration| left.abs_diff(wanted.left) <= TIMER_TOLERANCE;
        self.comment == wanted.comment && self.left.is_some_and(near)
    }
}

/// Sets whose content is not the wanted one, ascending.
pub(super) fn find_odd_sets(found: &[GrantElement], wanted: &[Element]) -> Vec<&'static str> {
    let at = |element: &Element| (element.key.set_name(), element.key.raw());
    let mut missing: HashMap<_, &Element> = wanted.iter().map(|e| (at(e), e)).collect();
    let mut odd = BTreeSet::new();
    for element in found {
        let same = match missing.remove(&(element.set, element.key.clone())) {
            Some(wanted) => element.is(wanted),
            // Its time is over here already.
            None => element.left.is_some_and(|left| left < LATE_END),
        };
        if !same {
            odd.insert(element.set);
        }
    }
    let gone = missing.into_values().filter(|e| e.left > TIMER_TOLERANCE);
    odd.extend(gone.map(|element| element.key.set_name()));
    odd.into_iter().collect()
}
