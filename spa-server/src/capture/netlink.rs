//! Netlink datagrams of the kernel, cut into messages and attributes (linux/netlink.h).

/// Bytes of `struct nlmsghdr`: length u32 | type u16 | flags u16 | sequence u32 | port u32.
pub(super) const MESSAGE_HEADER: usize = 16;
/// Bytes of `struct nlattr` and of `struct rtattr`: length u16 | type u16.
pub(super) const ATTRIBUTE_HEADER: usize = 4;
/// Room for any datagram of a dump, bytes.
pub(crate) const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;

/// Makes a message: type, flags, and what follows the header.
pub(crate) fn make_message(kind: u16, flags: libc::c_int, body: &[u8]) -> Vec<u8> {
    let mut message = ((MESSAGE_HEADER + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((flags as u16).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// The messages of a netlink datagram as type and body.
pub(crate) fn split_messages(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let ([l0, l1, l2, l3, t0, t1, ..], _) = rest.split_first_chunk::<MESSAGE_HEADER>()?;
        let length = usize::try_from(u32::from_ne_bytes([*l0, *l1, *l2, *l3])).ok()?;
        let kind = u16::from_ne_bytes([*t0, *t1]);
        let body = rest.get(MESSAGE_HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// Attributes as type and value.
pub(crate) fn split_attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let ([l0, l1, t0, t1], _) = rest.split_first_chunk::<ATTRIBUTE_HEADER>()?;
        let length = usize::from(u16::from_ne_bytes([*l0, *l1]));
        let kind = u16::from_ne_bytes([*t0, *t1]);
        let value = rest.get(ATTRIBUTE_HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}
