//! Netlink attributes: `u16 length, u16 type, value, padding to 4` (linux/netlink.h, RFC 3549
//! §2.2).

/// Set in the type of an attribute that holds attributes.
pub const NLA_F_NESTED: u16 = 0x8000;
/// Mask of the type proper: without the nested and byte-order flags.
const NLA_TYPE_MASK: u16 = 0x3fff;
/// Length of an attribute's header in bytes.
const ATTRIBUTE_HEADER_BYTES: usize = 4;

/// Writes attributes one after the other.
#[derive(Debug, Default, Clone)]
pub struct Nla {
    buf: Vec<u8>,
}

impl Nla {
    /// Empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes written so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buf
    }

    /// Number of bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buf.len()
    }

    /// True if nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// Bytes that are no attribute: headers.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// An attribute with these bytes as its value, at most 65,531 of them.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.buf.extend_from_slice(value);
        self.close_nest(start);
    }

    /// One byte.
    pub fn put_u8(&mut self, kind: u16, value: u8) {
        self.put(kind, &[value]);
    }

    /// Two bytes in network order.
    pub fn put_u16(&mut self, kind: u16, value: u16) {
        self.put(kind, &value.to_be_bytes());
    }

    /// Four bytes in network order.
    pub fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// Eight bytes in network order.
    pub fn put_u64(&mut self, kind: u16, value: u64) {
        self.put(kind, &value.to_be_bytes());
    }

    /// A string, with the NUL that the kernel wants.
    pub fn put_str(&mut self, kind: u16, value: &str) {
        let start = self.open(kind);
        self.buf.extend_from_slice(value.as_bytes());
        self.buf.push(0);
        self.close_nest(start);
    }

    /// An attribute that holds what `inside` writes.
    pub fn nest(&mut self, kind: u16, inside: impl FnOnce(&mut Self)) {
        let start = self.open(kind | NLA_F_NESTED);
        inside(self);
        self.close_nest(start);
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.buf.len();
        self.buf.extend_from_slice(&[0, 0]);
        self.buf.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn close_nest(&mut self, start: usize) {
        let length = u16::try_from(self.buf.len() - start);
        debug_assert!(length.is_ok(), "callers keep a nest below 64 KiB");
        self.patch(start, &length.unwrap_or(u16::MAX).to_ne_bytes());
        self.pad();
    }

    /// Overwrites bytes written before.
    pub(super) fn patch(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.buf.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    /// Fills up to a multiple of four.
    fn pad(&mut self) {
        while !self.buf.len().is_multiple_of(4) {
            self.buf.push(0);
        }
    }
}

/// Reads attributes one after the other; ends at the first malformed one.
#[derive(Debug, Clone, Copy)]
pub struct Attrs<'a>(pub &'a [u8]);

impl<'a> Attrs<'a> {
    /// The value of the first attribute of this type.
    #[must_use]
    pub fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.into_iter().find(|(k, _)| *k == kind).map(|(_, v)| v)
    }

    /// The attributes inside the first attribute of this type.
    #[must_use]
    pub fn nested(self, kind: u16) -> Option<Attrs<'a>> {
        self.get(kind).map(Attrs)
    }

    /// A string without its NUL.
    #[must_use]
    pub fn text(self, kind: u16) -> Option<&'a str> {
        let bytes = self.get(kind)?;
        std::str::from_utf8(bytes.strip_suffix(&[0]).unwrap_or(bytes)).ok()
    }

    /// Two bytes in network order.
    #[must_use]
    pub fn u16(self, kind: u16) -> Option<u16> {
        Some(u16::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// Four bytes in network order.
    #[must_use]
    pub fn u32(self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// Eight bytes in network order.
    #[must_use]
    pub fn u64(self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }
}

impl<'a> Attrs<'a> {
    /// The attributes with whether each says of itself that it holds attributes.
    pub fn marked(mut self) -> impl Iterator<Item = (u16, bool, &'a [u8])> {
        std::iter::from_fn(move || self.step())
            .map(|(kind, value)| (kind & NLA_TYPE_MASK, kind & NLA_F_NESTED != 0, value))
    }

    /// Type with its flags, and value.
    fn step(&mut self) -> Option<(u16, &'a [u8])> {
        let (length, rest) = self.0.split_first_chunk::<2>()?;
        let (kind, _) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_ne_bytes(*length));
        let value = self.0.get(ATTRIBUTE_HEADER_BYTES..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((u16::from_ne_bytes(*kind), value))
    }
}

impl<'a> Iterator for Attrs<'a> {
    /// Type without flags, and value.
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.step().map(|(kind, value)| (kind & NLA_TYPE_MASK, value))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut nla = Nla::new();
        nla.put_str(1, "spa");
        nla.nest(2, |n| {
            n.put_u64(3, 77);
            n.put_u8(4, 9);
        });
        nla.put_u16(5, 0x0102);
        assert!(nla.len().is_multiple_of(4));
        let attrs = Attrs(nla.bytes());
        assert_eq!(attrs.text(1), Some("spa"));
        assert_eq!(attrs.nested(2).unwrap().u64(3), Some(77));
        assert_eq!(attrs.nested(2).unwrap().get(4), Some(&[9][..]));
        assert_eq!(attrs.u16(5), Some(0x0102));
        assert_eq!(attrs.u32(5), None);
        assert_eq!(attrs.count(), 3);
    }

    #[test]
    fn no_byte_sequence_breaks_the_reader() {
        let mut nla = Nla::new();
        nla.put(1, &[1, 2, 3, 4, 5]);
        nla.put(2, &[]);
        for cut in 0..nla.len() {
            for value in [0u8, 1, 3, 4, 255] {
                let mut bytes = nla.bytes()[..cut].to_vec();
                if let Some(first) = bytes.first_mut() {
                    *first = value;
                }
                assert!(Attrs(&bytes).count() <= 3);
            }
        }
    }
}
