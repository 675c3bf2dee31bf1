//! Translations of connections to inner hosts, over a foreign flush of the ruleset.
//!
//! The kernel translates packets of known flows only while there is a chain of type `nat`. Without
//! one they reach this host itself, which has no such connection and resets it. So an idle chain
//! stands in a table of its own that belongs to our socket: a flush passes it over, and it goes
//! with the process. Rules are not kept there: nobody could take them away but us.

use super::abi::{self, chain, msg, rule};
use super::backend::Nftables;
use super::compile::compile_rule;
use super::forward_chains::BEFORE_DNAT;
use super::model::{NAT_TABLE_NAME, Word};
use crate::firewall::Rules;
use crate::firewall::netlink::Batch;
use crate::firewall::netlink::message::{NLM_F_APPEND, NLM_F_CREATE};

const CHAIN_NAME: &str = "hold";

impl Nftables {
    /// Has the chain be there when the rules translate, and only then. Kernels before 5.12 have no
    /// tables of one owner; there connections to inner hosts end with a flush.
    pub(super) fn hold_translations(&mut self, rules: &Rules) {
        let wanted = rules.forward.iter().any(|forward| forward.to.is_some());
        if wanted != self.holds_translations {
            let done = self.transact(if wanted { add_anchor } else { drop_anchor });
            self.holds_translations = wanted && done.is_ok();
        }
    }
}

fn add_anchor(batch: &mut Batch) {
    batch.push(msg::NEW_TABLE, NLM_F_CREATE, abi::NFPROTO_INET, NAT_TABLE_NAME, |n| {
        n.put_str(abi::TABLE_ATTRIBUTE, NAT_TABLE_NAME);
        n.put_u32(abi::TABLE_FLAGS, abi::TABLE_OWNER);
    });
    batch.push(msg::NEW_CHAIN, NLM_F_CREATE, abi::NFPROTO_INET, NAT_TABLE_NAME, |n| {
        n.put_str(abi::TABLE_ATTRIBUTE, NAT_TABLE_NAME);
        n.put_str(chain::NAME, CHAIN_NAME);
        n.nest(chain::HOOK, |n| {
            n.put_u32(chain::HOOK_NUMBER, abi::HOOK_PREROUTING);
            n.put(chain::HOOK_PRIORITY, &BEFORE_DNAT.to_be_bytes());
        });
        n.put_str(chain::TYPE, "nat");
    });
    // It decides nothing: without a rule that asks conntrack, the kernel tracks no packets.
    batch.push(
        msg::NEW_RULE,
        NLM_F_CREATE | NLM_F_APPEND,
        abi::NFPROTO_INET,
        NAT_TABLE_NAME,
        |n| {
            n.put_str(abi::TABLE_ATTRIBUTE, NAT_TABLE_NAME);
            n.put_str(rule::CHAIN, CHAIN_NAME);
            n.nest(rule::EXPRESSIONS, |n| {
                for expression in compile_rule(&vec![Word::Original], &[]) {
                    n.nest(abi::LIST_ELEM, |n| expression.encode(n));
                }
            });
        },
    );
}

fn drop_anchor(batch: &mut Batch) {
    batch.push(msg::DEL_TABLE, 0, abi::NFPROTO_INET, NAT_TABLE_NAME, |n| {
        n.put_str(abi::TABLE_ATTRIBUTE, NAT_TABLE_NAME);
    });
}
