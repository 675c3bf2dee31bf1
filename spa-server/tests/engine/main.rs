//! The whole server without sockets, disks or sleeps: the engine, a store and a firewall that can
//! fail, a network that can do what networks do, and two clocks that move as the test says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod acks;
mod actors;
mod admin;
mod age;
mod budgets;
mod clocks;
mod confirm;
mod doubles;
mod effects;
mod faults;
mod floods;
mod grants;
mod happy;
mod kem;
mod malice;
mod network;
mod newkeys;
mod order;
mod policy;
mod properties;
mod provisional;
mod reload;
mod replay;
mod revoke;
mod rotation;
mod seen;
mod serverkeys;
mod setup;
mod sources;
mod thief;
mod token;
mod unconfirmed;
mod world;
