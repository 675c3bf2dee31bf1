//! What the kernel says, and who has said it to the kernel.

use spa_server::firewall::netlink::{Attrs, NetlinkMessages};
use spa_server::firewall::nftables::untrusted;

/// Replies of nfnetlink: messages and nested attributes lie within the bytes.
pub(crate) fn netlink(data: &[u8]) {
    let mut bytes = 0;
    for message in NetlinkMessages(data) {
        bytes += message.payload.len() + 16;
        walk(message.attrs(), 8);
        let attrs = message.attrs();
        for kind in 0..8 {
            let _values = (attrs.u16(kind), attrs.u32(kind), attrs.u64(kind), attrs.text(kind));
        }
    }
    assert!(bytes <= data.len() + 16, "{bytes} of {}", data.len());
    untrusted::read_elements(data);
}

fn walk(attrs: Attrs<'_>, depth: usize) {
    for (_, value) in attrs {
        if depth > 0 {
            walk(Attrs(value), depth - 1);
        }
    }
}

/// Other people's chains and rules, as the kernel lists them.
pub(crate) fn foreign(data: &[u8]) {
    assert!(untrusted::read_foreign(data), "an expression is not read as it is written");
}
