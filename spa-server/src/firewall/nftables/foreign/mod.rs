//! Other people's rules, and with them what reaches a port of this host on its whole way.
//!
//! They are read from the kernel (`rules.rs`, `sets.rs`) and run with a packet of which only some
//! bits are known (`run.rs`, `walk.rs`), from the card to the socket (`way.rs`). [`HostModel`] asks
//! all of it.

mod advice;
mod closed_ports;
mod hidden;
mod judged;
mod legacy;
mod model;
mod obstacles;
mod packet;
mod reach;
mod reachable;
mod registers;
mod rules;
mod run;
mod sample;
mod sets;
mod step;
mod view;
mod walk;
mod way;
mod xtables;

pub(super) use closed_ports::look_of_closed_ports;
pub(super) use model::HostModel;
pub(super) use obstacles::{find_ephemeral, list_obstacles, list_questions};

use super::abi;
use crate::domain::ports::Protocol;
use crate::firewall::netlink::NetlinkMessages;

/// Reads chains and rules from messages and follows first packets through them.
pub(super) fn walk_messages(bytes: &[u8]) {
    let rules = rules::ForeignRules::from_messages(NetlinkMessages(bytes));
    for base in &rules.base_chains {
        for family in [abi::NFPROTO_IPV4, abi::NFPROTO_IPV6] {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let _walk = rules.walk(base, &packet::Packet::first(family, protocol, 22));
            }
        }
    }
}
