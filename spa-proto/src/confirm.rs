//! CONFIRM: the client names the address that an answer told it, and keeps the provisional grant.
//!
//! ```text
//! 0   8   tag of stage N-1 in the session's epoch
//! 8   8   mac, as of a stage packet
//! 16  32  E masked, as in a stage packet
//! 48      seal(k_conf, "SPA/2 confirm", number u8 | zeros 7 | address 16 | zeros)
//! ```

use std::net::IpAddr;

use zeroize::Zeroizing;

use crate::ext::{address_bytes, parse_address};
use crate::labels;
use crate::layout::{CLIENT_PACKET, MAX_CONFIRMS, MAX_PACKET, SEALED_AT};
use crate::seal::{SEAL_OVERHEAD, SealKey};

/// Bytes of a CONFIRM before its padding.
const FIELDS_LEN: usize = 24;
/// Offset of the address.
const ADDRESS_AT: usize = 8;

/// A CONFIRM in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// 1 for the session's first, at most [`MAX_CONFIRMS`]; only a higher one counts than the last.
    pub number: u8,
    /// Address that an answer told the client to be its own.
    pub address: IpAddr,
}

/// Seals a CONFIRM so that its datagram has [`CLIENT_PACKET`] and `padding` bytes.
pub(crate) fn seal_confirm(key: &SealKey, confirm: &Confirm, padding: usize) -> Vec<u8> {
    let mut plain = Zeroizing::new(Vec::with_capacity(MAX_PACKET));
    plain.push(confirm.number);
    plain.resize(ADDRESS_AT, 0);
    plain.extend_from_slice(&address_bytes(confirm.address));
    plain.resize(CLIENT_PACKET - SEALED_AT - SEAL_OVERHEAD + padding, 0);
    key.seal(labels::CONFIRM_KEY, plain)
}

/// Opens a datagram as a CONFIRM. `None`: it is none, or one that no honest client makes.
pub(crate) fn open_confirm(key: &SealKey, datagram: &[u8]) -> Option<Confirm> {
    if datagram.len() < CLIENT_PACKET || datagram.len() > MAX_PACKET {
        return None;
    }
    let plain = key.open(labels::CONFIRM_KEY, datagram.get(SEALED_AT..)?)?;
    let (fields, padding) = plain.split_first_chunk::<FIELDS_LEN>()?;
    let (head, address) = fields.split_first_chunk::<ADDRESS_AT>()?;
    let (number, zeros) = head.split_first()?;
    let is_zero = |byte: &u8| *byte == 0;
    if !(1..=MAX_CONFIRMS).contains(number)
        || !zeros.iter().all(is_zero)
        || !padding.iter().all(is_zero)
    {
        return None;
    }
    let address = parse_address(*address.first_chunk()?)?;
    Some(Confirm { number: *number, address })
}
