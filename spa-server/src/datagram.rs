//! What a capture hands to the engine.

use std::net::SocketAddr;

/// One UDP datagram as it arrived: attacker's bytes and where they came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Source address and port, as observed. IPv4 is never v4-mapped here.
    pub source: SocketAddr,
    /// Destination address and port: which of our addresses was knocked at.
    pub destination: SocketAddr,
    /// UDP payload.
    pub payload: &'a [u8],
}
