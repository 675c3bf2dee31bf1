//! Datagrams as a capture hands them to the engine, and the paths of answers.

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
    /// Sender on the link, where the capture knows it.
    pub link: Option<LinkAddress>,
}

impl Datagram<'_> {
    /// Path of an answer to this datagram.
    #[must_use]
    pub fn reply_path(&self) -> ReplyPath {
        ReplyPath { from: self.destination, to: self.source, link: self.link }
    }
}

/// Path of an answer: back to where a datagram came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyPath {
    /// Address and port of ours that was knocked at.
    pub from: SocketAddr,
    /// Source as observed.
    pub to: SocketAddr,
    /// Neighbour on the link that the datagram came from, where the capture knows it.
    pub link: Option<LinkAddress>,
}

/// Sender of a packet on the link (packet(7), `struct sockaddr_ll`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkAddress {
    /// Index of the interface.
    pub interface: u32,
    /// Hardware address of the neighbour that sent it, mostly a router.
    pub address: [u8; 8],
    /// Bytes of it that count; 0 where the link has no addresses.
    pub length: u8,
}
