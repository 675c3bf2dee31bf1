//! What the programs do together, as a client, a stranger and the kernel see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod adversity;
mod agent;
mod bait;
mod commands;
mod confirm;
mod control;
mod doctor;
mod enforcer;
mod enrol;
mod explain;
mod first_day;
mod forged;
mod hold;
mod hooks;
mod hostile;
mod interop;
mod knock;
mod local;
mod network;
mod policy;
mod protect;
mod recipe;
mod record;
mod recovery;
mod relay;
mod replay;
mod router;
mod scan;
mod sequence;
mod ssh;
mod tamper;
mod top;
mod trial;
mod uninstall;
mod walls;
