//! Channels and messages between broker, listener and runner.

pub mod channel;
pub mod client;
pub mod ends;
pub mod hooks;
pub mod message;
pub(crate) mod stanza;
