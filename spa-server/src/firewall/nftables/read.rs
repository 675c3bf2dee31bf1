//! Our table as the kernel has it: its layout, and the elements of its sets.

use super::abi::{self, chain, element, msg, set};
use super::element_key::ElementKey;
use super::elements::{KernelElement, read_elements, request_elements, runs};
use super::model::{ABOUT_TABLE, ChainHook, ChainSpec, SetSpec, TABLE_NAME};
use crate::firewall::address_set::{AddressSet, Family};
use crate::firewall::netlink::message::{NLM_F_DUMP, single};
use crate::firewall::netlink::{Attrs, NetlinkError, NetlinkSocket, Nla, some_if_found};

/// Request about our table.
pub(super) fn request_table(kind: u16, flags: u16) -> Nla {
    single(kind, flags, abi::NFPROTO_INET, 0, |n| n.put_str(abi::TABLE_ATTRIBUTE, TABLE_NAME))
}

/// State of our table in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    /// There is no table.
    Missing,
    /// There is one, and this is in the way of the wanted one.
    Found(Misfits),
}

/// Parts of our table that would outlive every repair: nothing but their removal helps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Misfits {
    /// The flag `dormant`, which takes all hooks away.
    pub(super) asleep: bool,
    /// Chains that are somebody else's, or of an older version, or at another hook.
    pub(super) chains: Vec<String>,
    /// Sets that are somebody else's, or have another key, other flags or another size.
    pub(super) sets: Vec<String>,
}

impl Misfits {
    /// True if nothing is in the way.
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Tells whether our table is in the kernel.
pub(super) fn has_table(netlink: &mut NetlinkSocket) -> Result<bool, NetlinkError> {
    let request = request_table(msg::GET_TABLE, 0);
    Ok(some_if_found(netlink.request(ABOUT_TABLE, &request, &mut |_| ()))?.is_some())
}

/// Compares chains and sets in the kernel with the wanted ones. Kernels before 6.3 or so take an
/// `add` of a different set for a success, so we look ourselves.
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
    let Some(flags) = some_if_found(found)?.and(flags) else { return Ok(Layout::Missing) };
    let request = request_table(msg::GET_CHAIN, NLM_F_DUMP);
    let odd_chains = netlink.dump(ABOUT_TABLE, &request, |m, out: &mut Vec<String>| {
        let attrs = m.attrs();
        let name = attrs.text(chain::NAME).unwrap_or_default();
        let wanted = chains.iter().find(|c| c.name == name);
        if attrs.text(abi::TABLE_ATTRIBUTE) == Some(TABLE_NAME)
            && !wanted.is_some_and(|c| has_hook(attrs, c.hook))
        {
            out.push(name.to_owned());
        }
    })?;
    let request = request_table(msg::GET_SET, NLM_F_DUMP);
    let odd_sets = netlink.dump(ABOUT_TABLE, &request, |m, out: &mut Vec<String>| {
        let attrs = m.attrs();
        let anonymous = attrs.u32(set::FLAGS).is_some_and(|flags| flags & set::ANONYMOUS != 0);
        let name = attrs.text(set::NAME).unwrap_or_default();
        let fits = match wanted.iter().find(|w| w.name == name) {
            None => anonymous,
            Some(want) => {
                let size = attrs.nested(set::DESC).and_then(|d| d.u32(set::DESC_SIZE));
                attrs.u32(set::KEY_LEN) == Some(want.keyed.len())
                    && attrs.u32(set::FLAGS) == Some(want.flags)
                    && size.filter(|s| *s != 0) == want.size
                    && attrs.get(set::EXPRESSION).is_some() == want.counted
            }
        };
        if !fits {
            out.push(name.to_owned());
        }
    });
    // Somebody may have taken the table away since we saw it.
    let Some(sets) = some_if_found(odd_sets)? else { return Ok(Layout::Missing) };
    Ok(Layout::Found(Misfits { asleep: flags != 0, chains: odd_chains, sets }))
}

/// True if a chain in the kernel is at this hook, with this priority and of this type.
pub(super) fn has_hook(found: Attrs<'_>, wanted: Option<ChainHook>) -> bool {
    match (found.nested(chain::HOOK), wanted) {
        (None, None) => true,
        (Some(hook), Some(wanted)) => {
            hook.u32(chain::HOOK_NUMBER) == Some(wanted.number)
                && hook.u32(chain::HOOK_PRIORITY)
                    == Some(u32::from_be_bytes(wanted.priority.to_be_bytes()))
                && found.text(chain::TYPE) == Some(wanted.kind)
        }
        _ => false,
    }
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
