//! The table as one transaction.

use super::abi::{self, chain, element, msg, rule, set};
use super::anonymous_set::{ANONYMOUS_NAME, anonymous_sets};
use super::compile::compile_rule;
use super::expression::Count;
use super::model::{ABOUT_TABLE, ChainHook, ChainSpec, KeyType, SetSpec, TABLE_NAME};
use super::read::Misfits;
use super::ruleset::{build_chains, build_sets};
use super::set_contents::{SetContent, set_contents};
use super::set_keys::{SetKey, put_keys};
use crate::firewall::Rules;
use crate::firewall::netlink::message::{NLM_F_APPEND, NLM_F_CREATE};
use crate::firewall::netlink::{Batch, Nla};

/// Keys in one message: with the longest ones they stay below the 64 KiB of an attribute.
const KEYS_PER_MESSAGE: usize = 512;

/// Makes the table be as the rules say; sets stay with their elements and timers. What is in the
/// way goes first, in the same transaction; without a list of it, the whole table.
///
/// A table that is deleted and made in one transaction is not replaced at once for packets: one
/// that is between two hooks at that moment meets the new chain before its rules and the old one
/// after them. A chain that stays has the old rules or the new ones.
pub(super) fn build_table(batch: &mut Batch, rules: &Rules, fib: bool, odd: Option<&Misfits>) {
    let mut ids = 1..;
    new_table(batch);
    match odd {
        Some(odd) => {
            // All rules, for those that are left would hold on to their sets and chains.
            push(batch, msg::DEL_RULE, 0, ABOUT_TABLE, |_| ());
            for name in &odd.sets {
                push(batch, msg::DEL_SET, 0, ABOUT_TABLE, |n| n.put_str(set::NAME, name));
            }
            for name in &odd.chains {
                push(batch, msg::DEL_CHAIN, 0, ABOUT_TABLE, |n| n.put_str(chain::NAME, name));
            }
        }
        None => {
            drop_table(batch);
            new_table(batch);
        }
    }
    for set in build_sets(rules) {
        new_set(batch, set.name, &set, ids.next().unwrap_or_default());
    }
    let chains = build_chains(rules, fib);
    for chain in &chains {
        new_chain(batch, chain);
    }
    for content in set_contents(rules) {
        refill_set(batch, &content);
    }
    for chain in &chains {
        for words in &chain.rules {
            let mut used = Vec::new();
            for set in anonymous_sets(words) {
                let id = ids.next().unwrap_or_default();
                new_set(batch, chain.name, &set.spec, id);
                new_keys(batch, chain.name, ANONYMOUS_NAME, Some(id), &set.keys);
                used.push(id);
            }
            push(batch, msg::NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, chain.name, |n| {
                n.put_str(rule::CHAIN, chain.name);
                n.nest(rule::EXPRESSIONS, |n| {
                    for expression in compile_rule(words, &used) {
                        n.nest(abi::LIST_ELEM, |n| expression.encode(n));
                    }
                });
            });
        }
    }
}

/// Adds a message about something in our table.
fn push(
    batch: &mut Batch,
    kind: u16,
    flags: u16,
    about: &'static str,
    body: impl FnOnce(&mut Nla),
) {
    batch.push(kind, flags, abi::NFPROTO_INET, about, |n| {
        n.put_str(abi::TABLE_ATTRIBUTE, TABLE_NAME);
        body(n);
    });
}

/// Adds the table if it is missing.
pub(super) fn new_table(batch: &mut Batch) {
    push(batch, msg::NEW_TABLE, NLM_F_CREATE, ABOUT_TABLE, |_| ());
}

/// Deletes the table with all that is in it.
pub(super) fn drop_table(batch: &mut Batch) {
    push(batch, msg::DEL_TABLE, 0, ABOUT_TABLE, |_| ());
}

fn new_set(batch: &mut Batch, about: &'static str, of: &SetSpec, id: u32) {
    push(batch, msg::NEW_SET, NLM_F_CREATE, about, |n| {
        n.put_str(set::NAME, of.name);
        n.put_u32(set::FLAGS, of.flags);
        n.put_u32(set::KEY_TYPE, of.keyed.kind());
        n.put_u32(set::KEY_LEN, of.keyed.len());
        n.put_u32(set::ID, id);
        if let Some(size) = of.size {
            n.nest(set::DESC, |n| put_description(n, of, size));
        }
        if of.keyed == KeyType::Interface {
            // nft must be told of keys in host order: libnftnl NFTNL_UDATA_SET_KEYBYTEORDER (0),
            // four bytes, host order (1).
            let [a, b, c, d] = 1u32.to_ne_bytes();
            n.put(set::USERDATA, &[0, 4, a, b, c, d]);
        }
        if of.counted {
            n.nest(set::EXPRESSION, |n| Count::default().expression().encode(n));
        }
    });
}

fn put_description(n: &mut Nla, of: &SetSpec, size: u32) {
    n.put_u32(set::DESC_SIZE, size);
    if of.flags & set::CONCAT != 0 {
        n.nest(set::DESC_CONCAT, |n| {
            for part in of.keyed.parts() {
                n.nest(abi::LIST_ELEM, |n| n.put_u32(set::FIELD_LEN, part));
            }
        });
    }
}

/// Policy of a base chain.
pub(super) fn policy(hook: ChainHook) -> u32 {
    if hook.drop { chain::POLICY_DROP } else { chain::POLICY_ACCEPT }
}

fn new_chain(batch: &mut Batch, of: &ChainSpec) {
    push(batch, msg::NEW_CHAIN, NLM_F_CREATE, of.name, |n| {
        n.put_str(chain::NAME, of.name);
        if let Some(hook) = of.hook {
            n.nest(chain::HOOK, |n| {
                n.put_u32(chain::HOOK_NUMBER, hook.number);
                n.put(chain::HOOK_PRIORITY, &hook.priority.to_be_bytes());
            });
            n.put_u32(chain::POLICY, policy(hook));
            n.put_str(chain::TYPE, hook.kind);
        }
    });
}

/// Empties a set that the configuration fills and fills it again.
fn refill_set(batch: &mut Batch, content: &SetContent) {
    flush_set(batch, content.set);
    new_keys(batch, content.set, content.set, None, &content.keys());
}

/// Deletes all elements of a set.
pub(super) fn flush_set(batch: &mut Batch, set: &'static str) {
    push(batch, msg::DEL_ELEMENT, 0, set, |n| n.put_str(element::SET, set));
}

/// Adds keys to a set; `id` is the number of an anonymous one.
fn new_keys(batch: &mut Batch, about: &'static str, set: &str, id: Option<u32>, keys: &[SetKey]) {
    for some in keys.chunks(KEYS_PER_MESSAGE) {
        push(batch, msg::NEW_ELEMENT, NLM_F_CREATE, about, |n| {
            n.put_str(element::SET, set);
            if let Some(id) = id {
                n.put_u32(element::SET_ID, id);
            }
            n.nest(element::ELEMENTS, |n| put_keys(n, some));
        });
    }
}
