//! The broker: the process that `spa-server run` is. It may change the firewall and opens the
//! files, and it never sees a packet. Strangers' bytes are read by the listener (`listener/`), a
//! child of it without any rights, which asks for every change over a socket. Each request is
//! checked against the broker's own reading of the configuration (`authorize.rs`).
//!
//! When one of the two dies the other ends, and what is open ends by the kernel's timers.

mod authorize;
mod checkpoint;
mod child;
mod client_terms;
mod config_versions;
mod enforcers;
mod enrol;
mod event_loop;
mod files;
mod follow_host;
mod grant_limits;
mod hooks;
mod host_peers;
mod listener_process;
mod network;
mod protection;
mod reach_watch;
mod reload;
mod reply;
mod request_handler;
mod supervise;
mod table_watch;
#[cfg(test)]
mod tests;
mod trial;

pub use event_loop::run_broker;
pub use trial::TRIAL_SECONDS;
