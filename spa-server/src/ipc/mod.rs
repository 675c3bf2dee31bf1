//! Channels and messages between broker, listener, runner and enforcers.

pub mod channel;
pub mod client;
pub mod ends;
pub mod enforcers;
pub mod hooks;
pub mod message;
pub(crate) mod stanza;
