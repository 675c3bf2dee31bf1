//! What `check` says of a host against what packets do there, and beside the firewalls that people
//! have.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bench;
mod cases;
mod changes;
mod dockerd;
mod fail2ban;
mod more_cases;
mod neighbours;
mod oracle;
