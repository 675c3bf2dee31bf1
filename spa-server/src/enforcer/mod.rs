//! The process of one `[[enforcer]]`: it keeps open at a router, or by a program, what the broker's
//! grants need. The broker makes no network socket and starts no program, and one enforcer that is
//! slow holds up this process and no other.
//!
//! Above it stands a second process that does nothing but start it anew when it ends: the broker
//! cannot.

mod conformance;
mod contract;
mod exec;
mod exec_lines;
mod follower;
mod journal;
mod wanted;
mod watch;

pub use conformance::{CaseOutcome, try_program};
pub use follower::run_enforcer;
pub use watch::watch_enforcer;
