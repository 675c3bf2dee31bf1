//! The number of a service in a packet.

/// First two bytes, big-endian, of SHA-256("SPA/1 service" ‖ name).
#[must_use]
pub fn wire_id(name: &str) -> u16 {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(b"SPA/1 service");
    context.update(name.as_bytes());
    match context.finish().as_ref() {
        [high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_sha256sum_says() {
        // printf 'SPA/1 servicessh' | sha256sum
        assert_eq!(wire_id("ssh"), 0x9ed2);
    }
}
