//! Known properties of the first packet of a flow before it has come.

use super::abi::{ct, meta, payload};
use super::compile::{DESTINATION_PORT, PORT_LEN, TCP_FLAGS, TCP_SYN};
use super::expression::Expression;
use crate::domain::ports::Protocol;

/// First packet of a flow to one of our ports.
#[derive(Debug, Clone, Copy)]
pub(super) struct FirstPacket {
    /// `NFPROTO_IPV4` or `NFPROTO_IPV6`
    pub(super) family: u8,
    /// TCP or UDP.
    pub(super) protocol: Protocol,
    /// Destination port.
    pub(super) port: u16,
}

/// Register and value of a load, if we know it.
pub(super) fn load_known(load: &Expression, packet: FirstPacket) -> Option<(u32, Vec<u8>)> {
    match *load {
        Expression::Meta { into, key: meta::NFPROTO } => Some((into, vec![packet.family])),
        Expression::Meta { into, key: meta::L4PROTO } => {
            Some((into, vec![packet.protocol.number()]))
        }
        Expression::Payload { into, base: payload::TRANSPORT_HEADER, offset, len } => {
            match (offset, len) {
                (DESTINATION_PORT, PORT_LEN) => Some((into, packet.port.to_be_bytes().to_vec())),
                (TCP_FLAGS, 1) if packet.protocol == Protocol::Tcp => Some((into, vec![TCP_SYN])),
                _ => None,
            }
        }
        Expression::Ct { into, key: ct::STATE, .. } => Some((into, ct::NEW.to_ne_bytes().to_vec())),
        _ => None,
    }
}
