//! The server's half of the control socket: the socket in `socket.rs`, who may speak in `peer.rs`.
//! What is said is in `control/`, what a command does in `listener/commands/`.

mod peer;
mod socket;

pub(super) use socket::{PendingRequest, accept_peers, bind_socket};
