//! Plain values that every room shares, each with its one grammar: no I/O, no clock.

pub(crate) mod bucket;
pub mod datagram;
pub mod dates;
pub mod grant;
pub mod hours;
pub mod ports;
pub mod rotation;
pub mod server_key;
