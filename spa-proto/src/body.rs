//! The request body: 16 bytes, big-endian, the only thing that bincode encodes.

use bincode::config::{BigEndian, Configuration, Fixint, Limit};
use bincode::{Decode, Encode};

use crate::layout::BODY_LEN;

/// What the client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Open the service.
    Open,
    /// Open it anew while it is open; the server treats it as [`Op::Open`].
    Renew,
    /// Close the client's grants for the service at this source.
    Close,
}

/// Flags of a request. Unknown bits are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Flags {
    /// Bit 0: the client wants an ack.
    pub want_ack: bool,
    /// Bit 1: the signature covers the client's own public address; a packet from elsewhere fails.
    pub bind_src: bool,
}

/// A request.
///
/// ```text
/// 0 ts_ms u64 | 8 service u16 | 10 ttl_s u16 | 12 op u8 | 13 flags u8 | 14 ext_len u16
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Body {
    /// When the session was made, unix milliseconds.
    pub ts_ms: u64,
    /// The service's number, see [`crate::service_id`].
    pub service: u16,
    /// How long, in seconds; 0: as long as the server gives by default.
    pub ttl_s: u16,
    /// What is asked for.
    pub op: Op,
    /// Flags.
    pub flags: Flags,
}

/// Why a body is refused. It came out of a valid AEAD, so a live key made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Not 16 bytes.
    #[error("the body has the wrong length")]
    Length,
    /// An op that this version does not know.
    #[error("unknown op {0}")]
    Op(u8),
    /// A flag that this version does not know.
    #[error("unknown flag bits {0:#04x}")]
    Flags(u8),
    /// An extension where the op has none.
    #[error("an extension of {0} bytes where none belongs")]
    Extension(u16),
}

#[derive(Encode, Decode)]
struct Wire {
    ts_ms: u64,
    service: u16,
    ttl_s: u16,
    op: u8,
    flags: u8,
    ext_len: u16,
}

/// Fixed-width integers only: bincode's default varint form is malleable (one value, several encodings).
fn config() -> Configuration<BigEndian, Fixint, Limit<BODY_LEN>> {
    bincode::config::standard().with_big_endian().with_fixed_int_encoding().with_limit()
}

impl Body {
    /// The 16 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; BODY_LEN] {
        let op = match self.op {
            Op::Open => 0,
            Op::Renew => 1,
            Op::Close => 2,
        };
        let flags = u8::from(self.flags.want_ack) | u8::from(self.flags.bind_src) << 1;
        let wire =
            Wire { ts_ms: self.ts_ms, service: self.service, ttl_s: self.ttl_s, op, flags, ext_len: 0 };
        let mut out = [0; BODY_LEN];
        let written = bincode::encode_into_slice(wire, &mut out, config());
        debug_assert_eq!(written.ok(), Some(BODY_LEN));
        out
    }

    /// Strict: exactly 16 bytes, no unknown op, no unknown flag, no extension.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        if bytes.len() != BODY_LEN {
            return Err(BodyError::Length);
        }
        let (wire, consumed): (Wire, usize) =
            bincode::decode_from_slice(bytes, config()).map_err(|_| BodyError::Length)?;
        if consumed != BODY_LEN {
            return Err(BodyError::Length);
        }
        let op = match wire.op {
            0 => Op::Open,
            1 => Op::Renew,
            2 => Op::Close,
            other => return Err(BodyError::Op(other)),
        };
        if wire.flags & !0b11 != 0 {
            return Err(BodyError::Flags(wire.flags));
        }
        if wire.ext_len != 0 {
            return Err(BodyError::Extension(wire.ext_len));
        }
        let flags = Flags { want_ack: wire.flags & 1 != 0, bind_src: wire.flags & 2 != 0 };
        Ok(Self { ts_ms: wire.ts_ms, service: wire.service, ttl_s: wire.ttl_s, op, flags })
    }
}
