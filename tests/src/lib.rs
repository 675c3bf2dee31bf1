//! Black-box test harness: hosts made of network namespaces, the real kernel, the real binaries.
//!
//! A test builds a topology ([`netns::lan`] or [`netns::routed`]), starts a [`daemon::Server`] on
//! one host and a [`daemon::Client`] on another, and then asks the kernel and the wire what a
//! stranger would see: [`probe`] for ports, [`capture`] for every frame, [`nft`] for the firewall.
//! [`raw`] forges what attackers send.
//!
//! Everything exists for IPv4 and IPv6; loop over [`Family::BOTH`].
//!
//! A panic here is a failed test, so helpers panic with the reason instead of returning errors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod agent;
pub mod bans;
pub mod capture;
pub mod clock;
pub mod columns;
pub mod config;
pub mod coverage;
pub mod crowd;
pub mod daemon;
pub mod first_day;
pub mod inject;
pub mod knocker;
pub mod machine;
pub mod netns;
pub mod nft;
pub mod nmap;
pub mod packet;
pub mod pcap;
pub mod privilege;
pub mod probe;
pub mod prose;
pub mod python;
pub mod raw;
pub mod scene;
pub mod session;
pub mod sshd;
pub mod survey;
pub mod tap;
pub mod temp;
pub mod terminal;
pub mod tools;
pub mod trace;
pub mod transcript;
pub mod wait;

mod family;
pub mod process;
mod still;

pub use family::Family;
pub use wait::wait_until;
