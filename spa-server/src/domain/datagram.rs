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
    /// The way back on the link, where the capture knows it.
    pub way: Option<Way>,
}

/// From where on the link a packet came (packet(7), `struct sockaddr_ll`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Index of the interface.
    pub interface: u32,
    /// Hardware address of the neighbour that sent it, mostly a router.
    pub address: [u8; 8],
    /// Bytes of it that count; 0 where the link has no addresses.
    pub length: u8,
}
