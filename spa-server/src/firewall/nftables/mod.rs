//! Backend `nftables`: one table `inet spa`, spoken to over netlink; no `nft` binary is needed.
//!
//! State lives in sets whose elements carry the kernel's own timers; rules are made from
//! [`super::Rules`] (`ruleset.rs`) and replaced as a whole. A restarted server reads its grants
//! back from the comments beside their elements (`comment.rs`). What several grants share, and what
//! has to be put back after somebody's `flush ruleset`, is in `ledger/`. [`print()`] shows the
//! ruleset as text.

mod abi;
mod address_number;
mod adopt_connections;
mod anonymous_set;
mod attribute;
mod backend;
mod ban_chains;
mod bound_chains;
mod build;
mod comment;
mod compile;
mod conntrack;
mod element_key;
mod elements;
mod end_flows;
mod expression;
mod foreign;
mod forward_chains;
mod grant_elements;
mod grant_keys;
mod intervals;
mod ledger;
mod model;
mod nat_anchor;
mod read;
mod read_grants;
mod reconcile;
mod rule_parts;
mod ruleset;
mod set_contents;
mod set_keys;
mod text;
mod transact;
mod unconfirmed_chains;
#[doc(hidden)]
pub mod untrusted;
mod verify;
mod watch;

pub use backend::Nftables;
pub(super) use model::BAIT_PREFIX;
pub use text::print;
pub use watch::{Noticed, Watcher};
