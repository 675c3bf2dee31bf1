//! The table as one transaction.

use super::abi::{self, chain, element, msg, rule, set};
use super::anonymous_set::{ANONYMOUS_NAME, AnonymousSet, anonymous_sets};
use super::compile::compile_rule;
use super::elements::put_set;
use super::expression::{Count, Expression};
use super::model::{ABOUT_TABLE, ChainHook, ChainSpec, SetSpec, TABLE};
use super::ruleset::{chains, sets};
use super::set_contents::{SetContent, set_contents};
use super::set_keys::put_keys;
use crate::firewall::Rules;
use crate::firewall::netlink::Batch;
use crate::firewall::netlink::message::{APPEND, CREATE};

/// Keys in one message: with the longest ones they stay below the 64 KiB of an attribute.
const KEYS_PER_MESSAGE: usize = 512;

/// Makes the table be as the rules say. With `fresh` what was there goes away first, in the same
/// transaction; else sets stay with their elements and timers.
pub(super) fn table(batch: &mut Batch, rules: &Rules, fib: bool, fresh: bool) {
    let mut ids = 1..;
    new_table(batch);
    if fresh {
        drop_table(batch);
        new_table(batch);
    }
    for set in sets(rules) {
        new_set(batch, &set, ids.next().unwrap_or_default());
    }
    let chains = chains(rules, fib);
    for chain in &chains {
        new_chain(batch, chain);
        batch.push(msg::DEL_RULE, 0, abi::INET, chain.name, |n| {
            n.put_str(abi::TABLE, TABLE);
            n.put_str(rule::CHAIN, chain.name);
        });
    }
    for fill in set_contents(rules) {
        refill(batch, &fill);
    }
    for chain in &chains {
        for words in &chain.rules {
            let mut used = Vec::new();
            for set in anonymous_sets(words) {
                let id = ids.next().unwrap_or_default();
                anonymous_set(batch, &set, id, chain.name);
                used.push(id);
            }
            batch.push(msg::NEW_RULE, CREATE | APPEND, abi::INET, chain.name, |n| {
                n.put_str(abi::TABLE, TABLE);
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

pub(super) fn new_table(batch: &mut Batch) {
    batch.push(msg::NEW_TABLE, CREATE, abi::INET, ABOUT_TABLE, |n| n.put_str(abi::TABLE, TABLE));
}

pub(super) fn drop_table(batch: &mut Batch) {
    batch.push(msg::DEL_TABLE, 0, abi::INET, ABOUT_TABLE, |n| n.put_str(abi::TABLE, TABLE));
}

fn new_set(batch: &mut Batch, of: &SetSpec, id: u32) {
    batch.push(msg::NEW_SET, CREATE, abi::INET, of.name, |n| {
        n.put_str(abi::TABLE, TABLE);
        n.put_str(set::NAME, of.name);
        n.put_u32(set::FLAGS, of.flags);
        n.put_u32(set::KEY_TYPE, of.keyed.kind());
        n.put_u32(set::KEY_LEN, of.keyed.len());
        n.put_u32(set::ID, id);
        if let Some(size) = of.size {
            n.nest(set::DESC, |n| {
                n.put_u32(set::DESC_SIZE, size);
                if of.flags & set::CONCAT != 0 {
                    n.nest(set::DESC_CONCAT, |n| {
                        for part in of.keyed.parts() {
                            n.nest(abi::LIST_ELEM, |n| n.put_u32(set::FIELD_LEN, part));
                        }
                    });
                }
            });
        }
        if of.counted {
            n.nest(set::EXPRESSION, |n| Expression::Counter(Count::default()).encode(n));
        }
    });
}

/// Policy of a base chain.
pub(super) fn policy(hook: ChainHook) -> u32 {
    if hook.drop { chain::POLICY_DROP } else { chain::POLICY_ACCEPT }
}

fn new_chain(batch: &mut Batch, of: &ChainSpec) {
    batch.push(msg::NEW_CHAIN, CREATE, abi::INET, of.name, |n| {
        n.put_str(abi::TABLE, TABLE);
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
fn refill(batch: &mut Batch, fill: &SetContent) {
    batch.push(msg::DEL_ELEMENT, 0, abi::INET, fill.set, |n| {
        n.put_str(abi::TABLE, TABLE);
        n.put_str(element::SET, fill.set);
    });
    for some in fill.keys().chunks(KEYS_PER_MESSAGE) {
        batch.push(msg::NEW_ELEMENT, CREATE, abi::INET, fill.set, |n| {
            put_set(n, fill.set, |n| put_keys(n, some));
        });
    }
}

fn anonymous_set(batch: &mut Batch, of: &AnonymousSet, id: u32, about: &'static str) {
    batch.push(msg::NEW_SET, CREATE, abi::INET, about, |n| {
        n.put_str(abi::TABLE, TABLE);
        n.put_str(set::NAME, ANONYMOUS_NAME);
        n.put_u32(set::FLAGS, set::ANONYMOUS | set::CONSTANT | of.flags);
        n.put_u32(set::KEY_TYPE, of.kind);
        n.put_u32(set::KEY_LEN, of.len);
        n.put_u32(set::ID, id);
        // The kernel chooses a smaller structure for a set whose size it knows.
        n.nest(set::DESC, |n| {
            n.put_u32(set::DESC_SIZE, u32::try_from(of.keys.len()).unwrap_or(u32::MAX));
        });
        if of.host_order {
            // libnftnl NFTNL_UDATA_SET_KEYBYTEORDER (0), four bytes, host order (1).
            let [a, b, c, d] = 1u32.to_ne_bytes();
            n.put(set::USERDATA, &[0, 4, a, b, c, d]);
        }
    });
    for some in of.keys.chunks(KEYS_PER_MESSAGE) {
        batch.push(msg::NEW_ELEMENT, CREATE, abi::INET, about, |n| {
            n.put_str(abi::TABLE, TABLE);
            n.put_str(element::SET, ANONYMOUS_NAME);
            n.put_u32(element::SET_ID, id);
            n.nest(element::ELEMENTS, |n| put_keys(n, some));
        });
    }
}
