//! Whether the kernel has what rules would make: read back, piece by piece.
//!
//! The kernel tells more of an expression than it was told (defaults), leaves out what has no
//! meaning, and names a rule's own sets itself. So attributes are compared one by one, and one that
//! only one side has must be zero.

use std::collections::BTreeSet;

use super::abi::{self, chain, element, msg, rule};
use super::anonymous::{ANONYMOUS_NAME, anonymous};
use super::expr::encode;
use super::fill::fills;
use super::model::{Chain, Rule};
use super::read::{self, Layout};
use super::ruleset;
use super::{ABOUT_TABLE, TABLE};
use crate::firewall::Rules;
use crate::firewall::netlink::message::{DUMP, single};
use crate::firewall::netlink::nla::Attrs;
use crate::firewall::netlink::{NetlinkError, NetlinkSocket, Nla};

/// Keys of a set; true marks the end of an interval.
type Keys = BTreeSet<(Vec<u8>, bool)>;

/// `NFTA_LOOKUP_SET`, `NFTA_LOOKUP_SET_ID`
const LOOKUP_SET: u16 = 1;
const LOOKUP_SET_ID: u16 = 4;
/// `NFTA_NAT_REG_ADDR_MIN` and so on: the kernel fills a maximum that was not told with the
/// minimum.
const NAT_MAXIMA: [(u16, u16); 2] = [(3, 4), (5, 6)];
/// `NFTA_NAT_FLAGS`: that there is an address (`NF_NAT_RANGE_MAP_IPS`) and a port
/// (`NF_NAT_RANGE_PROTO_SPECIFIED`).
const NAT_FLAGS: u16 = 7;
const NAT_MAPPED: u32 = 3;

/// What is not as the rules say; nothing when all is. Grants, bans and what is counted are not
/// looked at.
pub(super) fn difference(
    netlink: &mut NetlinkSocket,
    rules: &Rules,
    fib: bool,
) -> Result<Option<String>, NetlinkError> {
    let (sets, chains) = (ruleset::sets(rules), ruleset::chains(rules, fib));
    match read::layout(netlink, &sets, &chains)? {
        Layout::Fits => {}
        Layout::Missing => return Ok(Some("the table is missing".to_owned())),
        Layout::Differs => return Ok(Some("its sets or chains are others".to_owned())),
    }
    if let Some(found) = hooks(netlink, &chains)? {
        return Ok(Some(found));
    }
    for fill in fills(rules) {
        if keys(netlink, fill.set)? != Some(fill.keys().collect()) {
            return Ok(Some(format!("set {} has another content", fill.set)));
        }
    }
    for chain in &chains {
        if let Some(at) = rules_of(netlink, chain)? {
            return Ok(Some(format!("rule {at} of chain {} is another one", chain.name)));
        }
    }
    Ok(None)
}

/// Where each chain is hooked, and its policy.
fn hooks(netlink: &mut NetlinkSocket, chains: &[Chain]) -> Result<Option<String>, NetlinkError> {
    let request = single(msg::GET_CHAIN, DUMP, abi::INET, 0, |n| n.put_str(abi::TABLE, TABLE));
    let fit: Vec<&str> = netlink.dump(ABOUT_TABLE, &request, |m, out| {
        let attrs = m.attrs();
        if attrs.text(abi::TABLE) != Some(TABLE) {
            return;
        }
        let Some(want) = chains.iter().find(|c| attrs.text(chain::NAME) == Some(c.name)) else {
            return;
        };
        let hook = attrs.nested(chain::HOOK);
        let fits = match want.hook {
            None => hook.is_none(),
            Some(want) => hook.is_some_and(|hook| {
                hook.u32(chain::HOOK_NUMBER) == Some(want.number)
                    && hook.u32(chain::HOOK_PRIORITY)
                        == Some(u32::from_be_bytes(want.priority.to_be_bytes()))
                    && attrs.u32(chain::POLICY) == Some(u32::from(!want.drop))
                    && attrs.text(chain::TYPE) == Some(want.kind)
            }),
        };
        if fits {
            out.push(want.name);
        }
    })?;
    let bad = chains.iter().find(|chain| !fit.contains(&chain.name));
    Ok(bad.map(|chain| format!("chain {} is missing, or has another hook or policy", chain.name)))
}

/// The keys of a set, none when it is missing.
fn keys(netlink: &mut NetlinkSocket, set: &str) -> Result<Option<Keys>, NetlinkError> {
    let request = single(msg::GET_ELEMENT, DUMP, abi::INET, 0, |n| {
        n.put_str(abi::TABLE, TABLE);
        n.put_str(element::SET, set);
    });
    let told = netlink.dump(ABOUT_TABLE, &request, |m, out| {
        for (_, item) in m.attrs().nested(element::ELEMENTS).into_iter().flatten() {
            let item = Attrs(item);
            let key = item.nested(element::KEY).and_then(|key| key.get(abi::DATA_VALUE));
            let end =
                item.u32(element::FLAGS).is_some_and(|flags| flags & element::INTERVAL_END != 0);
            out.push((key.unwrap_or_default().to_vec(), end));
        }
    });
    match told {
        Ok(told) => Ok(Some(told.into_iter().collect())),
        Err(error) if error.errno() == libc::ENOENT => Ok(None),
        Err(error) => Err(error),
    }
}

/// The number of the first rule of a chain that is another one, from 1.
fn rules_of(netlink: &mut NetlinkSocket, wanted: &Chain) -> Result<Option<usize>, NetlinkError> {
    let request = single(msg::GET_RULE, DUMP, abi::INET, 0, |n| {
        n.put_str(abi::TABLE, TABLE);
        n.put_str(rule::CHAIN, wanted.name);
    });
    let found: Vec<Vec<u8>> = netlink.dump(wanted.name, &request, |m, out| {
        let attrs = m.attrs();
        if attrs.text(abi::TABLE) == Some(TABLE) && attrs.text(rule::CHAIN) == Some(wanted.name) {
            out.push(attrs.get(rule::EXPRESSIONS).unwrap_or_default().to_vec());
        }
    })?;
    for (at, words) in wanted.rules.iter().enumerate() {
        let same = match found.get(at) {
            Some(found) => same_rule(netlink, words, found)?,
            None => false,
        };
        if !same {
            return Ok(Some(at + 1));
        }
    }
    Ok((found.len() > wanted.rules.len()).then_some(wanted.rules.len() + 1))
}

fn same_rule(
    netlink: &mut NetlinkSocket,
    words: &Rule,
    found: &[u8],
) -> Result<bool, NetlinkError> {
    let own = anonymous(words);
    let mut ours = Nla::new();
    encode(&mut ours, words, &vec![0; own.len()]);
    let mut found = Attrs(found);
    // Names that the kernel gave to the rule's own sets, in their order.
    let mut named: Vec<&str> = Vec::new();
    for (_, mine) in Attrs(ours.bytes()) {
        match found.next() {
            Some((_, theirs)) if same_expression(Attrs(mine), Attrs(theirs), &mut named) => {}
            _ => return Ok(false),
        }
    }
    if found.next().is_some() || named.len() != own.len() {
        return Ok(false);
    }
    for (set, name) in own.into_iter().zip(named) {
        if keys(netlink, name)? != Some(set.keys.into_iter().collect()) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same_expression<'a>(ours: Attrs<'a>, theirs: Attrs<'a>, named: &mut Vec<&'a str>) -> bool {
    let name = ours.text(rule::EXPR_NAME);
    if name != theirs.text(rule::EXPR_NAME) {
        return false;
    }
    // The kernel tells none where it knows no attribute.
    let data = |of: Option<Attrs<'a>>| of.unwrap_or(Attrs(&[]));
    let (mine, found) = (data(ours.nested(rule::EXPR_DATA)), data(theirs.nested(rule::EXPR_DATA)));
    match name {
        // What it has counted.
        Some("counter") => true,
        Some("lookup") if mine.text(LOOKUP_SET) == Some(ANONYMOUS_NAME) => {
            named.extend(found.text(LOOKUP_SET));
            same(mine, found, &[LOOKUP_SET, LOOKUP_SET_ID])
        }
        Some("nat") => {
            let [(_, address), (_, port)] = NAT_MAXIMA;
            NAT_MAXIMA
                .iter()
                .all(|(min, max)| found.get(*max).is_none_or(|to| found.get(*min) == Some(to)))
                && found.u32(NAT_FLAGS).is_none_or(|flags| flags & !NAT_MAPPED == 0)
                && same(mine, found, &[address, port, NAT_FLAGS])
        }
        _ => same(mine, found, &[]),
    }
}

/// Whether both say the same; what one of them does not say is zero.
fn same(ours: Attrs<'_>, theirs: Attrs<'_>, but: &[u16]) -> bool {
    let zero = |value: &[u8]| value.iter().all(|byte| *byte == 0);
    let told =
        ours.marked().filter(|(kind, ..)| !but.contains(kind)).all(|(kind, nested, value)| {
            match theirs.get(kind) {
                Some(found) if nested => same(Attrs(value), Attrs(found), &[]),
                Some(found) => found == value,
                None => !nested && zero(value),
            }
        });
    let mut beyond =
        { theirs }.filter(|(kind, _)| !but.contains(kind) && ours.get(*kind).is_none());
    told && beyond.all(|(_, value)| zero(value))
}
