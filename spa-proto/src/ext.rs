//! Extension between signature and padding: its parts, their order and length. Op and flags
//! alone decide it, so a body has one extension length and an extension one reading.
//!
//! ```text
//! bind_src: the client's own address 16
//! | for_addr: address 16
//! | ENROL, REKEY: new keys 64, share 32, proof 64
//!   | touch of the proof 5 if the new key is a security key
//! | touch of the signature 5 if the client's key is a security key
//! ```

use std::net::{IpAddr, Ipv6Addr};

use crate::hash::to_array;
use crate::host_addr::HostAddr;
use crate::keys::ClientPublic;
use crate::layout::SIGNATURE_LEN;
use crate::signing::{KeyKind, Signature, TOUCH_LEN, Touch};

const ADDRESS_LEN: usize = 16;
const KEYS_LEN: usize = 64;
const SHARE_LEN: usize = 32;
/// The longest extension: REKEY from one security key to another, bound to its source.
pub(crate) const MAX_EXT: usize =
    ADDRESS_LEN + KEYS_LEN + SHARE_LEN + SIGNATURE_LEN + TOUCH_LEN + TOUCH_LEN;

/// Parts that an extension has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Parts {
    /// The client's own address, which the request is bound to.
    pub(crate) source: bool,
    /// The address to open or close for.
    pub(crate) address: bool,
    /// New keys and their proof, by a signing key of this kind.
    pub(crate) new_keys: Option<KeyKind>,
    /// The session is signed by a security key.
    pub(crate) touch: bool,
}

impl Parts {
    /// Bytes of the extension.
    pub(crate) fn len(self) -> usize {
        self.signed_len() + if self.touch { TOUCH_LEN } else { 0 }
    }

    /// Leaves out the touch of the session's own signature, which cannot sign itself as a part of
    /// the message.
    pub(crate) fn signed_len(self) -> usize {
        let addresses = (usize::from(self.source) + usize::from(self.address)) * ADDRESS_LEN;
        let new_keys = match self.new_keys {
            None => 0,
            Some(KeyKind::Ed25519) => KEYS_LEN + SHARE_LEN + SIGNATURE_LEN,
            Some(KeyKind::SecurityKey) => KEYS_LEN + SHARE_LEN + SIGNATURE_LEN + TOUCH_LEN,
        };
        addresses + new_keys
    }
}

/// New keys as they stand in an extension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewKeysPart {
    /// The new keys.
    pub(crate) public: ClientPublic,
    /// `r`, which makes the new psk.
    pub(crate) share: [u8; SHARE_LEN],
    /// Signature of the new signing key over the proof.
    pub(crate) proof: Signature,
}

/// An extension taken apart. A part that op and flags do not ask for is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ext {
    /// The client's own address (`bind_src`).
    pub(crate) source: Option<IpAddr>,
    /// The address to open for (`for_addr`).
    pub(crate) address: Option<IpAddr>,
    /// The new keys of ENROL and REKEY.
    pub(crate) new_keys: Option<NewKeysPart>,
    /// Flags and counter of a FIDO2 signature of the session.
    pub(crate) touch: Option<Touch>,
}

/// Fault inside an extension of the right length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExtError {
    Length,
    Address,
    Keys,
    Touch,
}

impl Ext {
    /// Exactly the parts, in order.
    pub(crate) fn decode(parts: Parts, bytes: &[u8]) -> Result<Self, ExtError> {
        if bytes.len() != parts.len() {
            return Err(ExtError::Length);
        }
        let mut rest = bytes;
        let mut out = Self::default();
        if parts.source {
            out.source = Some(parse_address(take_array(&mut rest)?).ok_or(ExtError::Address)?);
        }
        if parts.address {
            out.address = Some(parse_address(take_array(&mut rest)?).ok_or(ExtError::Address)?);
        }
        if let Some(kind) = parts.new_keys {
            let public =
                ClientPublic::from_bytes(&take_array::<KEYS_LEN>(&mut rest)?).with_kind(kind);
            if !public.is_canonical() {
                return Err(ExtError::Keys);
            }
            let share = take_array(&mut rest)?;
            let bytes = take_array::<SIGNATURE_LEN>(&mut rest)?;
            let touch = match kind {
                KeyKind::Ed25519 => None,
                KeyKind::SecurityKey => Some(take_touch(&mut rest)?),
            };
            out.new_keys = Some(NewKeysPart { public, share, proof: Signature { bytes, touch } });
        }
        if parts.touch {
            out.touch = Some(take_touch(&mut rest)?);
        }
        Ok(out)
    }
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], ExtError> {
    let (head, tail) = rest.split_first_chunk().ok_or(ExtError::Length)?;
    *rest = tail;
    Ok(*head)
}

fn take_touch(rest: &mut &[u8]) -> Result<Touch, ExtError> {
    Touch::decode(take_array(rest)?).ok_or(ExtError::Touch)
}

/// Reads 16 bytes as an address: IPv4 only as `::ffff:a.b.c.d`, and only what a single host can
/// have.
pub(crate) fn parse_address(bytes: [u8; ADDRESS_LEN]) -> Option<IpAddr> {
    HostAddr::new(Ipv6Addr::from(bytes).into()).map(HostAddr::ip)
}

/// Returns the 16 bytes of an address: IPv4 as `::ffff:a.b.c.d` (RFC 4291 section 2.5.5.2).
pub(crate) fn address_bytes(address: IpAddr) -> [u8; ADDRESS_LEN] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Returns the 16 bytes of an optional address; zeros when there is none.
pub(crate) fn optional_address_bytes(address: Option<IpAddr>) -> [u8; ADDRESS_LEN] {
    address.map_or([0; ADDRESS_LEN], address_bytes)
}

/// The bytes of an extension as a server keeps them, to compare later packets with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawExt([u8; MAX_EXT]);

impl RawExt {
    /// `None` when longer than any extension.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= MAX_EXT).then(|| Self(to_array(bytes)))
    }

    /// Returns all of it, zeros behind the end; the body tells its length.
    pub(crate) fn bytes(&self) -> &[u8; MAX_EXT] {
        &self.0
    }

    /// Returns the first `len` bytes.
    pub(crate) fn first_bytes(&self, len: usize) -> &[u8] {
        self.0.get(..len).unwrap_or_default()
    }
}
