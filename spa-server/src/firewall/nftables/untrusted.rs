//! Entries for fuzzing: readers of what the kernel lists, without a kernel. Other programs have
//! written most of it.

use super::abi::rule;
use super::comment::read_comment;
use super::elements::read_elements as read_set_elements;
use super::expression::decode_rule;
use super::foreign::walk_messages;
use crate::firewall::address_set::AddressSet;
use crate::firewall::netlink::{NetlinkMessages, Nla};

/// Reads elements of each of our sets, and their comments, from messages.
pub fn read_elements(bytes: &[u8]) {
    for message in NetlinkMessages(bytes) {
        for set in AddressSet::grants().chain([AddressSet::Ban]) {
            read_set_elements(set, message.attrs(), &mut |element| {
                let _comment = read_comment(&element.comment);
            });
        }
    }
}

/// Reads chains and rules from messages and follows first packets through them. Returns whether
/// each expression that was read exactly is read the same when we write it.
#[must_use]
pub fn read_foreign(bytes: &[u8]) -> bool {
    walk_messages(bytes);
    NetlinkMessages(bytes).all(|message| {
        let expressions = message.attrs().get(rule::EXPRESSIONS).unwrap_or_default();
        decode_rule(expressions).into_iter().flatten().filter(|decoded| decoded.exact).all(|read| {
            let mut written = Nla::new();
            written.nest(1, |n| read.expression.encode(n));
            decode_rule(written.bytes()) == [Some(read)]
        })
    })
}
