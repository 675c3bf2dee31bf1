//! The Internet checksum (RFC 1071) and the UDP pseudo-header (RFC 768, RFC 8200 section 8.1).

use std::net::IpAddr;

/// IP protocol number of UDP (IANA).
pub(super) const IPPROTO_UDP: u8 = 17;

/// A running one's complement sum of big-endian 16-bit words. Every slice added starts on a word
/// boundary, so only the last one may be of odd length.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum(u32);

impl Sum {
    /// Adds the words of at most 65 535 bytes; an odd last byte is padded with zero.
    #[must_use]
    pub(super) fn add_words(self, bytes: &[u8]) -> Self {
        // Two words at a time: carries of the lower one into the upper one are undone by folding.
        let (quads, rest) = bytes.as_chunks::<4>();
        let mut sum: u64 = quads.iter().map(|quad| u64::from(u32::from_be_bytes(*quad))).sum();
        let mut last = [0; 4];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        sum += u64::from(u32::from_be_bytes(last));
        self.add_word(fold_carries(sum))
    }

    /// Adds one word.
    #[must_use]
    pub(super) fn add_word(self, word: u16) -> Self {
        Self(self.0 + u32::from(word))
    }

    /// The sum folded to 16 bits, not complemented: 0xffff when a checksum field was included and
    /// right.
    #[must_use]
    pub(super) fn fold_to_16_bits(self) -> u16 {
        fold_carries(self.0.into())
    }
}

/// The sum over the pseudo-header of a UDP datagram of `length` bytes, its UDP header included.
#[must_use]
pub(super) fn pseudo_header(source: IpAddr, destination: IpAddr, length: u16) -> Sum {
    let add = |sum: Sum, address: IpAddr| match address {
        IpAddr::V4(a) => sum.add_words(&a.octets()),
        IpAddr::V6(a) => sum.add_words(&a.octets()),
    };
    add(add(Sum::default(), source), destination).add_word(length).add_word(u16::from(IPPROTO_UDP))
}

fn fold_carries(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::Sum;

    #[test]
    fn example_of_rfc_1071() {
        assert_eq!(
            Sum::default()
                .add_words(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])
                .fold_to_16_bits(),
            0xddf2
        );
    }

    #[test]
    fn odd_byte_is_the_high_half_of_a_word() {
        assert_eq!(
            Sum::default().add_words(&[0x12, 0x34, 0x56]).fold_to_16_bits(),
            0x1234 + 0x5600
        );
    }

    #[test]
    fn the_longest_datagram_does_not_overflow() {
        assert_eq!(
            Sum::default().add_words(&[0xff; 65_535]).add_words(&[0xff; 65_534]).fold_to_16_bits(),
            0xff00
        );
    }
}
