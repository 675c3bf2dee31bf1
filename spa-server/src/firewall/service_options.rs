//! Options of a service for the firewall, beyond its ports.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::domain::ports::ProtoPorts;

/// Fate of a flow when the grant that let it in ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Established {
    /// The flow lives on.
    #[default]
    Keep,
    /// Each of its packets needs a live grant.
    Drop,
}

/// Netfilter hook at which a service's packets are filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PacketHook {
    /// The service is on this host.
    #[default]
    Input,
    /// The service is on a host or in a container behind this one.
    Forward,
}

/// The inner host that the packets of a granted source go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Address; packets of the other family are not sent on.
    pub address: IpAddr,
    /// Port; `None`: the one that was asked for.
    pub port: Option<u16>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).fmt(f),
            None => self.address.fmt(f),
        }
    }
}

/// A text that is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an inner host: write \"10.0.0.5\", \"10.0.0.5:22\", \"fd00::5\" or \
    \"[fd00::5]:22\""
)]
pub struct TargetError(pub String);

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(s: &str) -> Result<Self, TargetError> {
        let bare = s.strip_prefix('[').and_then(|s| s.strip_suffix(']')).unwrap_or(s);
        let found = match (bare.parse::<IpAddr>(), s.parse::<SocketAddr>()) {
            (Ok(address), _) => Self { address, port: None },
            (_, Ok(end)) if end.port() != 0 => Self { address: end.ip(), port: Some(end.port()) },
            _ => return Err(TargetError(s.escape_debug().to_string())),
        };
        let plain = s.rsplit(':').next().is_none_or(|port| !port.starts_with('0'));
        let address = found.address;
        if found.port.is_some() && !plain {
            return Err(TargetError(s.escape_debug().to_string()));
        }
        // NAT to these leads nowhere, or to every host at once.
        let local = match address {
            IpAddr::V4(v4) => v4.is_broadcast() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some(),
        };
        if local || address.is_loopback() || address.is_unspecified() || address.is_multicast() {
            return Err(TargetError(s.escape_debug().to_string()));
        }
        Ok(found)
    }
}

/// Ports of hosts behind this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Ports as clients ask for them.
    pub ports: Vec<ProtoPorts>,
    /// Host that granted packets are sent on to; `None`: routed, or by somebody else's NAT.
    pub to: Option<Target>,
    /// Fate of flows that outlive their grant.
    pub established: Established,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn targets() {
        for (text, port) in [
            ("10.0.0.5", None),
            ("10.0.0.5:22", Some(22)),
            ("fd00::5", None),
            ("[fd00::5]:22", Some(22)),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.port, target.to_string().as_str()), (port, text));
        }
        assert_eq!("[fd00::5]".parse::<Target>().unwrap().to_string(), "fd00::5");
        for text in [
            "",
            "host",
            "10.0.0.5:0",
            "10.0.0.5:",
            "10.0.0.5/24",
            "127.0.0.1",
            "::",
            "224.0.0.1:9",
            ":22",
            "10.0.0.5:022",
            "[fd00::5]:022",
            "255.255.255.255",
            "169.254.0.1",
            "fe80::1",
            "::ffff:10.0.0.5",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
