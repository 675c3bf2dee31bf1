//! Addresses: this machine's own, those of a host, and networks.

mod nat64;
mod network;
mod resolve;
mod source;

pub(crate) use nat64::{discover_prefixes, is_translated};
pub(crate) use network::{format_network, parse_network};
pub(crate) use resolve::{ResolvedNames, has_address, resolve_names};
pub(crate) use source::{find_source_address, is_public_address};

use std::net::IpAddr;

use serde::Deserialize;

/// Address families to knock over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Family {
    /// Both.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// IPv4 only.
    #[serde(rename = "4")]
    V4,
    /// IPv6 only.
    #[serde(rename = "6")]
    V6,
}

impl Family {
    /// Returns true for an address of this family.
    fn contains_address(self, address: IpAddr) -> bool {
        match self {
            Self::Auto => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}
