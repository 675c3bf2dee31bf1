//! Our table as the kernel has it: its layout, and the elements of its sets.

use super::abi::{self, chain, element, msg, set};
use super::element_key::ElementKey;
use super::elements::{KernelElement, read_elements, request_elements, runs};
use super::model::{ABOUT_TABLE, ChainSpec, SetSpec, TABLE_NAME};
use crate::firewall::address_set::{AddressSet, Family};
use crate::firewall::netlink::message::{NLM_F_DUMP, single};
use crate::firewall::netlink::{NetlinkError, NetlinkSocket, Nla, some_if_found};

/// Request about our table.
pub(super) fn request_table(kind: u16, flags: u16) -> Nla {
    single(kind, flags, abi::NFPROTO_INET, 0, |n| n.put_str(abi::TABLE_ATTRIBUTE, TABLE_NAME))
}

/// State of our table in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// There is no table.
    Missing,
    /// All sets that it has are as wanted, and nothing else is in it.
    Fits,
    /// The table can only be made anew: a set has another key, other flags or another size, a
    /// chain or a set is somebody else's, or the table sleeps.
    Differs,
}

/// Compares chains and sets in the kernel with the wanted ones. Kernels before 6.3 or so take an
/// `add` of a different set for a success, so we look ourselves. What is not ours in our table
/// would outlive every repair: a chain that drops or accepts, or the flag `dormant`, which takes
/// all hooks away.
pub(super) fn read_layout(
    netlink: &mut NetlinkSocket,
    wanted: &[SetSpec],
    chains: &[ChainSpec],
) -> Result<Layout, NetlinkError> {
    let mut flags = None;
    let found = netlink.request(ABOUT_TABLE, &request_table(msg::GET_TABLE, 0), &mut |m| {
        if m.kind == msg::NEW_TABLE {
            flags = m.attrs().u32(abi::TABLE_FLAGS).or(Some(0));
        }
    });
    match some_if_found(found)?.and(flags) {
        None => return Ok(Layout::Missing),
        Some(0) => (),
        Some(_) => return Ok(Layout::Differs),
    }
    let request = request_table(msg::GET_CHAIN, NLM_F_DUMP);
    let foreign = netlink.dump(ABOUT_TABLE, &request, |m, out: &mut Vec<()>| {
        let attrs = m.attrs();
        let ours = attrs.text(abi::TABLE_ATTRIBUTE) == Some(TABLE_NAME);
        if ours && !chains.iter().any(|c| attrs.text(chain::NAME) == Some(c.name)) {
            out.push(());
        }
    })?;
    if !foreign.is_empty() {
        return Ok(Layout::Differs);
    }
    let request = request_table(msg::GET_SET, NLM_F_DUMP);
    let fits = netlink.dump(ABOUT_TABLE, &request, |m, out: &mut Vec<bool>| {
        let attrs = m.attrs();
        let anonymous = attrs.u32(set::FLAGS).is_some_and(|flags| flags & set::ANONYMOUS != 0);
        let Some(want) = wanted.iter().find(|w| attrs.text(set::NAME) == Some(w.name)) else {
            return out.push(anonymous);
        };
        let size = attrs.nested(set::DESC).and_then(|d| d.u32(set::DESC_SIZE));
        out.push(
            attrs.u32(set::KEY_LEN) == Some(want.keyed.len())
                && attrs.u32(set::FLAGS) == Some(want.flags)
                && size.filter(|s| *s != 0) == want.size
                && attrs.get(set::EXPRESSION).is_some() == want.counted,
        );
    })?;
    Ok(if fits.into_iter().all(|fit| fit) { Layout::Fits } else { Layout::Differs })
}

/// Reads all elements of a set, in both families. A missing table has none.
pub(super) fn read_set(
    netlink: &mut NetlinkSocket,
    set: AddressSet,
) -> Result<Vec<KernelElement>, NetlinkError> {
    let mut out = Vec::new();
    for family in Family::BOTH {
        let name = set.name(family);
        let request = single(msg::GET_ELEMENT, NLM_F_DUMP, abi::NFPROTO_INET, 0, |n| {
            n.put_str(abi::TABLE_ATTRIBUTE, TABLE_NAME);
            n.put_str(element::SET, name);
        });
        let found = netlink
            .dump(name, &request, |m, out| read_elements(set, m.attrs(), &mut |e| out.push(e)));
        out.extend(some_if_found(found)?.unwrap_or_default());
    }
    Ok(out)
}

/// Reads some elements with their counters, as far as they are there.
pub(super) fn read_counts(
    netlink: &mut NetlinkSocket,
    keys: &[ElementKey],
) -> Result<Vec<KernelElement>, NetlinkError> {
    let mut out = Vec::new();
    for run in runs(keys, |key| *key) {
        match read_run(netlink, run)? {
            Some(found) => out.extend(found),
            // One is missing and the kernel stopped there: the others are asked one by one.
            None => {
                for key in run {
                    out.extend(read_run(netlink, &[*key])?.into_iter().flatten());
                }
            }
        }
    }
    Ok(out)
}

/// Reads elements of one set; `None` when one is missing.
fn read_run(
    netlink: &mut NetlinkSocket,
    run: &[ElementKey],
) -> Result<Option<Vec<KernelElement>>, NetlinkError> {
    let Some(first) = run.first() else { return Ok(None) };
    let mut out = Vec::new();
    let found = netlink.request(first.set_name(), &request_elements(run), &mut |m| {
        read_elements(first.set(), m.attrs(), &mut |e| out.push(e));
    });
    Ok(some_if_found(found)?.map(|()| out))
}
