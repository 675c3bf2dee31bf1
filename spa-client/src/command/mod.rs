//! Commands, one file each.

pub(crate) mod close;
pub(crate) mod completions;
pub(crate) mod connect;
pub(crate) mod doctor;
pub(crate) mod hosts;
pub(crate) mod join;
pub(crate) mod open;
pub(crate) mod rotate;
pub(crate) mod run;
pub(crate) mod ssh_config;
mod stdio;
