//! Capture files as `tcpdump -w` makes them, just enough to replay what was recorded.
//!
//! Layout: a 24-byte header (magic, version, zone, accuracy, snapshot length, link type), then for
//! every packet 16 bytes (seconds, fraction, captured length, original length) and its bytes; all
//! in the writer's byte order.

use std::path::Path;

/// Link type 1: Ethernet (tcpdump.org's list of link-layer header types).
const ETHERNET: u32 = 1;

/// The frames of a capture file of an Ethernet device.
///
/// # Errors
/// A sentence when the file cannot be read, is no such capture or is cut short.
pub fn frames(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let bytes =
        std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    parse(&bytes).ok_or_else(|| {
        format!("{} is not a whole capture file of an Ethernet device", path.display())
    })
}

/// The file header for frames of an Ethernet device, in our byte order.
pub fn header() -> Vec<u8> {
    let mut bytes = 0xa1b2_c3d4_u32.to_ne_bytes().to_vec();
    bytes.extend(2_u16.to_ne_bytes());
    bytes.extend(4_u16.to_ne_bytes());
    for word in [0, 0, 65535, ETHERNET] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes
}

/// One frame with its header; the time is left at zero, because a replay does not look at it.
pub fn record(frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).expect("a frame is shorter than 4 GiB");
    let mut bytes = Vec::with_capacity(16 + frame.len());
    for word in [0, 0, length, length] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(frame);
    bytes
}

fn parse(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let word = |at: usize| bytes.get(at..at + 4).and_then(|word| <[u8; 4]>::try_from(word).ok());
    // The same magic for micro- and for nanoseconds' files, in either order: only the order matters
    // here.
    let read: fn([u8; 4]) -> u32 = match word(0)? {
        [0xd4 | 0x4d, 0xc3 | 0x3c, 0xb2, 0xa1] => u32::from_le_bytes,
        [0xa1, 0xb2, 0xc3 | 0x3c, 0xd4 | 0x4d] => u32::from_be_bytes,
        _ => return None,
    };
    if read(word(20)?) != ETHERNET {
        return None;
    }
    let mut frames = Vec::new();
    let mut at = 24;
    while at < bytes.len() {
        let length = read(word(at + 8)?) as usize;
        frames.push(bytes.get(at + 16..at + 16 + length)?.to_vec());
        at += 16 + length;
    }
    Some(frames)
}

#[cfg(test)]
mod tests {
    use super::{header, parse, record};

    #[test]
    fn reads_what_it_writes() {
        let bytes = [header(), record(b"abc"), record(b"")].concat();
        assert_eq!(parse(&bytes), Some(vec![b"abc".to_vec(), Vec::new()]));
    }

    #[test]
    fn reads_both_byte_orders_and_refuses_a_cut_file() {
        let file = |word: fn(u32) -> [u8; 4]| {
            let mut bytes = Vec::new();
            for value in [0xa1b2_c3d4, 0x0002_0004, 0, 0, 65535, 1, 7, 8, 3, 3] {
                bytes.extend(word(value));
            }
            bytes.extend(b"abc");
            bytes
        };
        for bytes in [file(u32::to_le_bytes), file(u32::to_be_bytes)] {
            assert_eq!(parse(&bytes), Some(vec![b"abc".to_vec()]));
            assert_eq!(parse(&bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(parse(b"not a capture"), None);
    }
}
