//! Netlink for netfilter, the little of it that this server speaks: attributes, messages, one
//! transaction or dump at a time, and packets logged by a rule.
//!
//! Why not `netlink-packet-netfilter` (0.4): it has no ct, log, limit, fib and reject expressions,
//! which our rules need; it parses every attribute of a dump into owned values, where a reader of
//! grants wants three; and an attribute it does not know comes back without its nested flag. The
//! part of the wire format needed here fits in two screens, so it is written down in the open.
//! The sockets are those of `netlink-sys`: no `unsafe` in this folder.
//!
//! Everything here is in host byte order in netlink headers and in network byte order inside the
//! attributes, as `linux/netlink.h` and `linux/netfilter/nfnetlink.h` have it.

pub mod message;
pub mod nflog;
pub mod nla;
pub mod socket;

pub use message::{Batch, NetlinkMessage, NetlinkMessages};
pub use nflog::{NflogPacket, NflogSocket};
pub use nla::{Attrs, Nla};
pub use socket::{NetlinkError, NetlinkSocket, some_if_found};
