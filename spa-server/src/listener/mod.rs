//! The listener: tokio around the engine, in a process without rights. One thread carries packets,
//! requests to the broker and control; the store and the building of tag tables have threads of
//! their own.

mod audit;
mod baits;
mod broker_link;
mod clock;
mod closing;
mod commands;
mod control_socket;
mod event_loop;
mod figures;
mod firewall_access;
mod history;
mod key_rollover;
mod knock_server;
mod last_run;
mod packet_source;
mod process;
pub mod readable;
mod received;
mod record;
mod reload;
mod retry;
mod second_server;
mod setup;
mod store_thread;
mod strangers;
mod table_builds;
mod trial;

pub use clock::Clock;
pub(crate) use last_run::forget_past;
pub use process::run_listener;
pub use setup::Setup;
