//! The request body: 16 bytes, big-endian, the only thing that bincode encodes. What does not fit
//! there stands in the extension (`ext.rs`), whose length op and flags decide.

use std::net::IpAddr;

use bincode::config::{BigEndian, Configuration, Fixint, Limit};
use bincode::{Decode, Encode};

use crate::ext::{Ext, ExtError, Parts};
use crate::keys::ClientPublic;
use crate::layout::BODY_LEN;
use crate::signing::KeyKind;

const WANT_ACK: u8 = 1;
const BIND_SRC: u8 = 1 << 1;
const FOR_ADDR: u8 = 1 << 2;
const SECURITY_KEY: u8 = 1 << 3;
const NEW_SECURITY_KEY: u8 = 1 << 4;
const CLOSE_ALL: u8 = 1 << 5;
const KEM_KEY: u8 = 1 << 6;
/// Code of [`Op::Close`].
const CLOSE_CODE: u8 = 2;

/// Operation that the client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Open the service.
    Open,
    /// Open it anew while it is open; the server treats it as [`Op::Open`].
    Renew,
    /// Close the client's grants for the service: at an address, or all of them.
    Close,
    /// The sender holds an invitation and becomes a client with these keys.
    Enrol(ClientPublic),
    /// The client goes on with these keys.
    Rekey(ClientPublic),
}

impl Op {
    /// Returns its word in logs and vectors.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Renew => "renew",
            Self::Close => "close",
            Self::Enrol(_) => "enrol",
            Self::Rekey(_) => "rekey",
        }
    }

    /// The keys that ENROL and REKEY bring.
    #[must_use]
    pub fn new_keys(&self) -> Option<ClientPublic> {
        match self {
            Self::Enrol(keys) | Self::Rekey(keys) => Some(*keys),
            Self::Open | Self::Renew | Self::Close => None,
        }
    }

    fn code(&self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Renew => 1,
            Self::Close => CLOSE_CODE,
            Self::Enrol(_) => 3,
            Self::Rekey(_) => 4,
        }
    }
}

/// Flags of a request. Unknown bits are refused. Bits 1, 2 and 4 follow from [`Body::bind_src`],
/// [`Body::for_addr`] and [`Body::op`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Flags {
    /// Bit 0: the client wants an answer.
    pub want_ack: bool,
    /// Bit 3: a security key signs; its flags and counter end the extension.
    pub security_key: bool,
    /// Bit 5, of CLOSE only: close at whatever address.
    pub all: bool,
    /// Bit 6, of ENROL and REKEY only: the stages carry an ML-KEM key.
    pub kem: bool,
}

/// A request.
///
/// ```text
/// 0 ts_ms u64 | 8 service u16 | 10 ttl_s u16 | 12 op u8 | 13 flags u8 | 14 ext_len u16
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Body {
    /// Time when the session was made, unix milliseconds.
    pub ts_ms: u64,
    /// The service's number, see [`crate::service_id`]; 0 for ENROL and REKEY, and for a CLOSE of
    /// every service.
    pub service: u16,
    /// Time to live in seconds; 0: as long as the server gives by default. 0 for ENROL and REKEY.
    pub ttl_s: u16,
    /// Operation.
    pub op: Op,
    /// Flags.
    pub flags: Flags,
    /// Flag bit 1: the client's own public address. Packets from elsewhere are ignored.
    pub bind_src: Option<IpAddr>,
    /// Flag bit 2 of OPEN, RENEW and CLOSE: the address to open or close for, instead of the
    /// observed source.
    pub for_addr: Option<IpAddr>,
}

/// Reason why a body is refused. It came out of a valid AEAD, so a live key made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Not 16 bytes.
    #[error("the body has the wrong length")]
    Length,
    /// An op that this version does not know.
    #[error("unknown op {0}")]
    Op(u8),
    /// A flag that this version does not know, that does not go with the op, or a CLOSE whose flags
    /// do not say what it closes.
    #[error("unknown or misplaced flag bits in {0:#04x}")]
    Flags(u8),
    /// Not the extension's length that op and flags ask for.
    #[error("an extension of {0} bytes where none or another belongs")]
    Extension(u16),
    /// A service or a ttl where the op has none.
    #[error("a service or a ttl in an op that has none")]
    Unused,
    /// No single host can have this address.
    #[error("no address of a host")]
    Address,
    /// New keys that are not canonical encodings.
    #[error("a new key is not canonically encoded")]
    Keys,
    /// No touch, or flags that no such signature has.
    #[error("the security key's flags are not possible")]
    Touch,
}

impl From<ExtError> for BodyError {
    fn from(error: ExtError) -> Self {
        match error {
            ExtError::Length => Self::Length,
            ExtError::Address => Self::Address,
            ExtError::Keys => Self::Keys,
            ExtError::Touch => Self::Touch,
        }
    }
}

#[derive(Clone, Copy, Encode, Decode)]
struct Wire {
    ts_ms: u64,
    service: u16,
    ttl_s: u16,
    op: u8,
    flags: u8,
    ext_len: u16,
}

/// Fixed-width integers only: bincode's default varint form is malleable (one value, several
/// encodings).
fn codec_config() -> Configuration<BigEndian, Fixint, Limit<BODY_LEN>> {
    bincode::config::standard().with_big_endian().with_fixed_int_encoding().with_limit()
}

/// The 16 bytes, checked; the extension is still to come.
pub(crate) struct Head {
    wire: Wire,
    parts: Parts,
}

impl Head {
    /// Decodes the 16 bytes of a body and the parts of its extension.
    ///
    /// # Errors
    /// Wrong length, an unknown operation, or flags that do not go together.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        if bytes.len() != BODY_LEN {
            return Err(BodyError::Length);
        }
        let (wire, consumed): (Wire, usize) =
            bincode::decode_from_slice(bytes, codec_config()).map_err(|_| BodyError::Length)?;
        if consumed != BODY_LEN {
            return Err(BodyError::Length);
        }
        let brings_keys = match wire.op {
            0..=2 => false,
            3 | 4 => true,
            other => return Err(BodyError::Op(other)),
        };
        let has = |bit: u8| wire.flags & bit != 0;
        let possible = WANT_ACK
            | BIND_SRC
            | SECURITY_KEY
            | if brings_keys { NEW_SECURITY_KEY | KEM_KEY } else { FOR_ADDR }
            | if wire.op == CLOSE_CODE { CLOSE_ALL } else { 0 };
        // A CLOSE that names no address would close whatever the source of a copy holds.
        let closes_nothing = wire.op == CLOSE_CODE
            && (has(FOR_ADDR) == has(CLOSE_ALL))
            && (has(CLOSE_ALL) || !has(BIND_SRC));
        if wire.flags & !possible != 0 || closes_nothing {
            return Err(BodyError::Flags(wire.flags));
        }
        let new_kind = if has(NEW_SECURITY_KEY) { KeyKind::SecurityKey } else { KeyKind::Ed25519 };
        let parts = Parts {
            source: has(BIND_SRC),
            address: has(FOR_ADDR),
            new_keys: brings_keys.then_some(new_kind),
            touch: has(SECURITY_KEY),
        };
        if usize::from(wire.ext_len) != parts.len() {
            return Err(BodyError::Extension(wire.ext_len));
        }
        if brings_keys && (wire.service, wire.ttl_s) != (0, 0) {
            return Err(BodyError::Unused);
        }
        Ok(Self { wire, parts })
    }

    /// Parts of the extension, as op and flags have it.
    pub(crate) fn ext_parts(&self) -> Parts {
        self.parts
    }

    /// Tells whether a piece of an ML-KEM key follows the extension. `fragment_len` is how long,
    /// `None` where no such key is taken.
    pub(crate) fn fragment_len(&self, fragment_len: Option<usize>) -> Result<usize, BodyError> {
        let flags = self.wire.flags;
        if flags & KEM_KEY == 0 { Ok(0) } else { fragment_len.ok_or(BodyError::Flags(flags)) }
    }

    /// Joins the head and its extension.
    ///
    /// # Errors
    /// Operation and extension contradict each other.
    pub(crate) fn to_body(&self, ext: &Ext) -> Result<Body, BodyError> {
        let Wire { ts_ms, service, ttl_s, flags, .. } = self.wire;
        let op = match (self.wire.op, ext.new_keys) {
            (0, None) => Op::Open,
            (1, None) => Op::Renew,
            (2, None) => Op::Close,
            (3, Some(new)) => Op::Enrol(new.public),
            (4, Some(new)) => Op::Rekey(new.public),
            (other, _) => return Err(BodyError::Op(other)),
        };
        let flags = Flags {
            want_ack: flags & WANT_ACK != 0,
            security_key: flags & SECURITY_KEY != 0,
            all: flags & CLOSE_ALL != 0,
            kem: flags & KEM_KEY != 0,
        };
        let (bind_src, for_addr) = (ext.source, ext.address);
        Ok(Body { ts_ms, service, ttl_s, op, flags, bind_src, for_addr })
    }
}

impl Body {
    /// Parts of the extension that this body needs.
    pub(crate) fn ext_parts(&self) -> Parts {
        Parts {
            source: self.bind_src.is_some(),
            address: self.for_addr.is_some(),
            new_keys: self.op.new_keys().map(|keys| keys.kind),
            touch: self.flags.security_key,
        }
    }

    /// The 16 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; BODY_LEN] {
        let parts = self.ext_parts();
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = bit(self.flags.want_ack, WANT_ACK)
            | bit(parts.source, BIND_SRC)
            | bit(parts.address, FOR_ADDR)
            | bit(parts.touch, SECURITY_KEY)
            | bit(self.flags.all, CLOSE_ALL)
            | bit(self.flags.kem, KEM_KEY)
            | bit(parts.new_keys == Some(KeyKind::SecurityKey), NEW_SECURITY_KEY);
        let ext_len = parts.len() as u16;
        let wire = Wire {
            ts_ms: self.ts_ms,
            service: self.service,
            ttl_s: self.ttl_s,
            op: self.op.code(),
            flags,
            ext_len,
        };
        let mut out = [0; BODY_LEN];
        let written = bincode::encode_into_slice(wire, &mut out, codec_config());
        debug_assert_eq!(written.ok(), Some(BODY_LEN));
        out
    }

    /// Strict: exactly 16 bytes, no unknown op, no unknown or misplaced flag, and exactly the
    /// extension that these ask for.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8], ext: &[u8]) -> Result<Self, BodyError> {
        let head = Head::decode(bytes)?;
        head.to_body(&Ext::decode(head.ext_parts(), ext)?)
    }
}
