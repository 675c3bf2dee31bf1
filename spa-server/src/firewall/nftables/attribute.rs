//! Values of an expression's attributes, each with one encoding and one decoding.

use super::abi::data;
use crate::firewall::netlink::{Attrs, Nla};

/// Value that an attribute holds.
pub(super) trait Attribute: Sized {
    /// Writes the attribute.
    fn put(&self, n: &mut Nla, kind: u16);

    /// Reads the attribute; `None` when it is missing or of another shape.
    fn get(fields: &mut Fields<'_>, kind: u16) -> Option<Self>;
}

/// Attributes of one expression, with which of them were asked for.
pub(super) struct Fields<'a> {
    attrs: Attrs<'a>,
    asked: Vec<u16>,
}

impl<'a> Fields<'a> {
    /// Attributes of which none was asked for.
    pub(super) fn new(attrs: Attrs<'a>) -> Self {
        Self { attrs, asked: Vec::new() }
    }

    /// Bytes of an attribute.
    pub(super) fn bytes(&mut self, kind: u16) -> Option<&'a [u8]> {
        self.asked.push(kind);
        self.attrs.get(kind)
    }

    /// True if every attribute that was not asked for is zero.
    pub(super) fn all_read(&self) -> bool {
        { self.attrs }
            .all(|(kind, value)| self.asked.contains(&kind) || value.iter().all(|byte| *byte == 0))
    }
}

/// Numbers are in network order.
macro_rules! numbers {
    ($($type:ty),+) => {
        $(impl Attribute for $type {
            fn put(&self, n: &mut Nla, kind: u16) {
                n.put(kind, &self.to_be_bytes());
            }

            fn get(fields: &mut Fields<'_>, kind: u16) -> Option<Self> {
                Some(Self::from_be_bytes(fields.bytes(kind)?.try_into().ok()?))
            }
        })+
    };
}

numbers!(u8, u16, u32, u64);

/// The only flag of an attribute; a missing one is not set.
impl Attribute for bool {
    fn put(&self, n: &mut Nla, kind: u16) {
        self.then_some(1u32).put(n, kind);
    }

    fn get(fields: &mut Fields<'_>, kind: u16) -> Option<Self> {
        let flags: u32 = <Option<u32>>::get(fields, kind)?.unwrap_or(0);
        (flags <= 1).then_some(flags == 1)
    }
}

/// Text with a NUL at its end.
impl Attribute for String {
    fn put(&self, n: &mut Nla, kind: u16) {
        n.put_str(kind, self);
    }

    fn get(fields: &mut Fields<'_>, kind: u16) -> Option<Self> {
        fields.bytes(kind)?;
        fields.attrs.text(kind).map(str::to_owned)
    }
}

/// Value of a register (`NFTA_DATA_VALUE`).
impl Attribute for Vec<u8> {
    fn put(&self, n: &mut Nla, kind: u16) {
        n.nest(kind, |n| n.put(data::VALUE, self));
    }

    fn get(fields: &mut Fields<'_>, kind: u16) -> Option<Self> {
        Attrs(fields.bytes(kind)?).get(data::VALUE).map(<[u8]>::to_vec)
    }
}

/// Bytes that only their user understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawBytes(pub(super) Vec<u8>);

impl Attribute for RawBytes {
    fn put(&self, n: &mut Nla, kind: u16) {
        n.put(kind, &self.0);
    }

    fn get(fields: &mut Fields<'_>, kind: u16) -> Option<Self> {
        fields.bytes(kind).map(|bytes| Self(bytes.to_vec()))
    }
}

/// Attribute that may be missing.
impl<T: Attribute> Attribute for Option<T> {
    fn put(&self, n: &mut Nla, kind: u16) {
        if let Some(value) = self {
            value.put(n, kind);
        }
    }

    fn get(fields: &mut Fields<'_>, kind: u16) -> Option<Self> {
        match fields.bytes(kind) {
            None => Some(None),
            Some(_) => T::get(fields, kind).map(Some),
        }
    }
}
