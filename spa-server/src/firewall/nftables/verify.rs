//! Verification that the kernel has what rules would make: read back, piece by piece.
//!
//! The kernel tells more of an expression than it was told (defaults), leaves out what has no
//! meaning, and names a rule's own sets itself. So decoded expressions are compared, and an
//! attribute that their type has no field for must be zero.

use std::time::Instant;

use super::abi::{self, chain, msg, nat, rule};
use super::anonymous_set::{ANONYMOUS_NAME, anonymous_sets};
use super::build::policy;
use super::compile::compile_rule;
use super::expression::{Decoded, Expression, decode_rule};
use super::grant_elements::{find_odd_sets, read_grant_elements};
use super::ledger::Ledger;
use super::model::{ABOUT_TABLE, ChainSpec, RuleWords, TABLE_NAME};
use super::read::{Layout, has_hook, read_layout, request_table};
use super::ruleset;
use super::set_contents::set_contents;
use super::set_keys::read_keys;
use crate::firewall::Rules;
use crate::firewall::netlink::message::{NLM_F_DUMP, single};
use crate::firewall::netlink::{NetlinkError, NetlinkSocket};

/// Finds what is not as rules and live grants say; `None` when all is. Bans, marks of sequences and
/// what is counted are not looked at.
pub(super) fn find_difference(
    netlink: &mut NetlinkSocket,
    rules: &Rules,
    fib: bool,
    ledger: &Ledger,
) -> Result<Option<String>, NetlinkError> {
    let (sets, chains) = (ruleset::build_sets(rules), ruleset::build_chains(rules, fib));
    match read_layout(netlink, &sets, &chains)? {
        Layout::Found(odd) if odd.is_none() => {}
        Layout::Missing => return Ok(Some("the table is missing".to_owned())),
        Layout::Found(_) => return Ok(Some("its sets or chains differ".to_owned())),
    }
    if let Some(found) = compare_hooks(netlink, &chains)? {
        return Ok(Some(found));
    }
    for content in set_contents(rules) {
        let mut keys = content.keys();
        keys.sort();
        if read_keys(netlink, abi::NFPROTO_INET, TABLE_NAME, content.set)? != Some(keys) {
            return Ok(Some(format!("set {} has different elements", content.set)));
        }
    }
    for chain in &chains {
        if let Some(at) = compare_rules(netlink, chain)? {
            return Ok(Some(format!("rule {at} of chain {} differs", chain.name)));
        }
    }
    let odd = find_odd_sets(&read_grant_elements(netlink)?, &ledger.list_elements(Instant::now()));
    Ok(odd.first().map(|set| format!("set {set} holds elements other than the live grants")))
}

/// Compares hooks and policies of the chains.
fn compare_hooks(
    netlink: &mut NetlinkSocket,
    chains: &[ChainSpec],
) -> Result<Option<String>, NetlinkError> {
    let request = request_table(msg::GET_CHAIN, NLM_F_DUMP);
    let fit: Vec<&str> = netlink.dump(ABOUT_TABLE, &request, |m, out| {
        let attrs = m.attrs();
        if attrs.text(abi::TABLE_ATTRIBUTE) != Some(TABLE_NAME) {
            return;
        }
        let Some(want) = chains.iter().find(|c| attrs.text(chain::NAME) == Some(c.name)) else {
            return;
        };
        let fits = has_hook(attrs, want.hook)
            && want.hook.is_none_or(|hook| attrs.u32(chain::POLICY) == Some(policy(hook)));
        if fits {
            out.push(want.name);
        }
    })?;
    let bad = chains.iter().find(|chain| !fit.contains(&chain.name));
    Ok(bad.map(|chain| format!("chain {} is missing, or has another hook or policy", chain.name)))
}

/// The number of the first rule of a chain that is another one, from 1.
fn compare_rules(
    netlink: &mut NetlinkSocket,
    wanted: &ChainSpec,
) -> Result<Option<usize>, NetlinkError> {
    let request = single(msg::GET_RULE, NLM_F_DUMP, abi::NFPROTO_INET, 0, |n| {
        n.put_str(abi::TABLE_ATTRIBUTE, TABLE_NAME);
        n.put_str(rule::CHAIN, wanted.name);
    });
    let found: Vec<Vec<u8>> = netlink.dump(wanted.name, &request, |m, out| {
        let attrs = m.attrs();
        if attrs.text(abi::TABLE_ATTRIBUTE) == Some(TABLE_NAME)
            && attrs.text(rule::CHAIN) == Some(wanted.name)
        {
            out.push(attrs.get(rule::EXPRESSIONS).unwrap_or_default().to_vec());
        }
    })?;
    for (at, words) in wanted.rules.iter().enumerate() {
        let same = match found.get(at) {
            Some(found) => is_same_rule(netlink, words, found)?,
            None => false,
        };
        if !same {
            return Ok(Some(at + 1));
        }
    }
    Ok((found.len() > wanted.rules.len()).then_some(wanted.rules.len() + 1))
}

fn is_same_rule(
    netlink: &mut NetlinkSocket,
    words: &RuleWords,
    found: &[u8],
) -> Result<bool, NetlinkError> {
    let own = anonymous_sets(words);
    let (ours, found) = (compile_rule(words, &[]), decode_rule(found));
    if ours.len() != found.len() {
        return Ok(false);
    }
    // Names that the kernel gave to the rule's own sets, in their order.
    let mut named: Vec<&str> = Vec::new();
    for (ours, found) in ours.iter().zip(&found) {
        let Some(Decoded { expression: found, exact: true }) = found else { return Ok(false) };
        let same = match (ours, found) {
            // Its figures are no part of the rule.
            (Expression::Counter { .. }, Expression::Counter { .. }) => true,
            (
                Expression::Lookup { set, register, inverted, .. },
                Expression::Lookup { set: name, register: from, inverted: not, .. },
            ) if set == ANONYMOUS_NAME => {
                named.push(name);
                (register, inverted) == (from, not)
            }
            (Expression::Nat { .. }, found) => *ours == without_nat_defaults(found.clone()),
            (ours, found) => ours == found,
        };
        if !same {
            return Ok(false);
        }
    }
    if named.len() != own.len() {
        return Ok(false);
    }
    for (mut set, name) in own.into_iter().zip(named) {
        set.keys.sort();
        if read_keys(netlink, abi::NFPROTO_INET, TABLE_NAME, name)? != Some(set.keys) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes away what the kernel adds to a translation: a maximum that was not told is the minimum,
/// and flags say that there is an address and a port.
fn without_nat_defaults(mut found: Expression) -> Expression {
    if let Expression::Nat { address, last_address, port, last_port, flags, .. } = &mut found {
        last_address.take_if(|last| *address == Some(*last));
        last_port.take_if(|last| *port == Some(*last));
        flags.take_if(|flags| *flags & !(nat::MAP_IPS | nat::PROTO_SPECIFIED) == 0);
    }
    found
}
