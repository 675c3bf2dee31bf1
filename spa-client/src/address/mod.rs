//! Addresses: our own, those of a host, and networks.

pub(crate) mod resolve;
pub(crate) mod source;
