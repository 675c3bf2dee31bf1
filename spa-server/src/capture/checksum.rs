//! The Internet checksum (RFC 1071) and the UDP pseudo-header (RFC 768, RFC 8200 section 8.1).

use std::net::IpAddr;

/// IP protocol number of UDP (IANA).
pub(super) const UDP: u8 = 17;

/// A running one's complement sum of big-endian 16-bit words. Every slice added starts on a word
/// boundary, so only the last one may be of odd length.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum(u32);

impl Sum {
    /// Adds the words of at most 65 535 bytes; an odd last byte is padded with zero.
    #[must_use]
    pub(super) fn add(self, bytes: &[u8]) -> Self {
        let mut pairs = bytes.chunks_exact(2);
        let mut sum = 0_u32;
        for pair in &mut pairs {
            if let [high, low] = *pair {
                sum += u32::from(u16::from_be_bytes([high, low]));
            }
        }
        if let [last] = *pairs.remainder() {
            sum += u32::from(u16::from_be_bytes([last, 0]));
        }
        // Folded at once: a whole datagram's sum fits 32 bits, the sum of several may not.
        self.add_word(fold(sum))
    }

    /// Adds one word.
    #[must_use]
    pub(super) fn add_word(self, word: u16) -> Self {
        Self(self.0 + u32::from(word))
    }

    /// The sum folded to 16 bits, not complemented: 0xffff when a checksum field was included and right.
    #[must_use]
    pub(super) fn folded(self) -> u16 {
        fold(self.0)
    }
}

/// The sum over the pseudo-header of a UDP datagram of `length` bytes, its UDP header included.
#[must_use]
pub(super) fn pseudo_header(source: IpAddr, destination: IpAddr, length: u16) -> Sum {
    let add = |sum: Sum, address: IpAddr| match address {
        IpAddr::V4(a) => sum.add(&a.octets()),
        IpAddr::V6(a) => sum.add(&a.octets()),
    };
    add(add(Sum::default(), source), destination).add_word(length).add_word(u16::from(UDP))
}

fn fold(mut sum: u32) -> u16 {
    while let Some(carry) = Some(sum >> 16).filter(|carry| *carry != 0) {
        sum = (sum & 0xffff) + carry;
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::Sum;

    #[test]
    fn example_of_rfc_1071() {
        assert_eq!(Sum::default().add(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).folded(), 0xddf2);
    }

    #[test]
    fn odd_byte_is_the_high_half_of_a_word() {
        assert_eq!(Sum::default().add(&[0x12, 0x34, 0x56]).folded(), 0x1234 + 0x5600);
    }

    #[test]
    fn the_longest_datagram_does_not_overflow() {
        assert_eq!(Sum::default().add(&[0xff; 65_535]).add(&[0xff; 65_534]).folded(), 0xff00);
    }
}
