//! What broker, listener and runner say to each other: the channel, the messages, both halves.

pub mod channel;
pub mod client;
pub mod ends;
pub mod hooks;
pub mod message;
