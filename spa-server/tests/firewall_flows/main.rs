//! Real flows through a cable between two network namespaces: how often a grant is used, and how
//! long what it let in lives.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod bans;
mod begins;
mod established;
mod flood;
mod foreign;
mod forward;
#[path = "../namespace/mod.rs"]
mod namespace;
mod net;
mod swaps;
mod used;
mod wide;
