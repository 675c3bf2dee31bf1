//! Control socket: one JSON object per line, requests and responses. `docs/control.md` lists the
//! commands.
//!
//! The server's end is in `listener/control_socket/`; what a command does is in
//! `listener/commands/`.

pub mod client;
mod request;
mod response;
pub mod rows;
pub mod status;

pub use request::{CloseRequest, Command, ExplainRequest, Question};
pub use response::Response;

/// Version of the conversation.
pub const PROTOCOL_VERSION: u32 = 1;
/// Longest line that is read, bytes.
pub const LINE_LIMIT: u64 = 64 * 1024;
