//! Registers of a rule (`NFT_REG_*`), bit by bit known or not.

use std::cmp::Ordering;

use super::packet::{Byte, Doubt};

/// Bytes of all registers.
const REGISTER_BYTES: usize = 64;
/// Bytes of a register of numbers 1 to 4; the others, from 8 on, are four long and lie over these.
const LARGE_REGISTER_BYTES: usize = 16;
const SMALL_REGISTER_BYTES: usize = 4;
const FIRST_SMALL_REGISTER: u32 = 8;

/// Truth of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    Holds,
    Fails,
    Doubted(Doubt),
}

impl Truth {
    /// Truth of what is known to be so or not.
    pub(super) fn of(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Fails }
    }

    /// Truth of the opposite.
    pub(super) fn inverted(self, inverted: bool) -> Self {
        match self {
            Self::Holds if inverted => Self::Fails,
            Self::Fails if inverted => Self::Holds,
            truth => truth,
        }
    }
}

/// Registers while a rule runs.
pub(super) struct Registers([Byte; REGISTER_BYTES]);

impl Registers {
    /// Registers before the first expression.
    pub(super) fn new() -> Self {
        Self([Byte::unknown(Doubt::Unread); REGISTER_BYTES])
    }

    /// Forgets everything, after an expression that may have written anywhere.
    pub(super) fn forget(&mut self) {
        *self = Self::new();
    }

    /// Writes a value; the last four bytes are filled up with zeros.
    pub(super) fn write(&mut self, register: u32, value: &[Byte]) {
        let Some(start) = offset_of(register) else { return };
        let len = value.len().next_multiple_of(SMALL_REGISTER_BYTES);
        for at in 0..len {
            if let Some(place) = self.0.get_mut(start + at) {
                *place = value.get(at).copied().unwrap_or(0.into());
            }
        }
    }

    /// Bytes from the start of a register; what lies behind the last one is not known.
    pub(super) fn read(&self, register: u32, len: usize) -> Vec<Byte> {
        let byte = |at: usize| {
            let place = offset_of(register).and_then(|start| self.0.get(start + at));
            place.copied().unwrap_or(Byte::unknown(Doubt::Unread))
        };
        (0..len.min(REGISTER_BYTES)).map(byte).collect()
    }
}

fn offset_of(register: u32) -> Option<usize> {
    Some(match usize::try_from(register).ok()? {
        0 => return None,
        large if register < FIRST_SMALL_REGISTER => (large - 1) * LARGE_REGISTER_BYTES,
        small => (small - FIRST_SMALL_REGISTER as usize) * SMALL_REGISTER_BYTES,
    })
}

/// The gravest reason for which a value is not known; `None`: it is.
pub(super) fn doubt_of(value: &[Byte]) -> Option<Doubt> {
    value.iter().filter(|byte| byte.known != 0xff).map(|byte| byte.doubt).max()
}

/// A value without its reasons, if it is known.
pub(super) fn known_value(value: &[Byte]) -> Option<Vec<u8>> {
    doubt_of(value).is_none().then(|| value.iter().map(|byte| byte.value).collect())
}

/// Tells whether a value is this one.
pub(super) fn equals(value: &[Byte], wanted: &[u8]) -> Truth {
    let differs = |(byte, wanted): (&Byte, &u8)| (byte.value ^ wanted) & byte.known != 0;
    if value.len() != wanted.len() || value.iter().zip(wanted).any(differs) {
        return Truth::Fails;
    }
    doubt_of(value).map_or(Truth::Holds, Truth::Doubted)
}

/// Compares a value with another one; when it is not known, why.
pub(super) fn compare(value: &[Byte], with: &[u8]) -> Result<Ordering, Doubt> {
    for (byte, with) in value.iter().zip(with) {
        if byte.known != 0xff {
            return Err(doubt_of(value).unwrap_or(byte.doubt));
        }
        match byte.value.cmp(with) {
            Ordering::Equal => {}
            order => return Ok(order),
        }
    }
    Ok(Ordering::Equal)
}
