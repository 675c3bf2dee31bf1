//! MikroTik routers: the rules of a RouterOS firewall around address lists, one list per service.
//!
//! Lists are in memory and have timeouts on the router, so what they open ends without us, and
//! is closed after a restart of the router.

mod chains;
mod rule;
mod script;

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

pub use script::{render, render_undo};

use super::{Authenticated, Bait, Established, Hide, Mode, PacketHook, Target};
use crate::domain::ports::{PortRange, ProtoPorts};

/// Major version of RouterOS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Version {
    /// 6.49: no NAT of IPv6.
    V6,
    /// 7 and later.
    #[default]
    V7,
}

/// Everything that the script for a router is made from. "This host" of the configuration is the
/// router: services with `hook = "input"` are its own, the others behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterRules {
    /// Version of RouterOS.
    pub version: Version,
    /// Name of the router's interface list that strangers come from.
    pub wan: String,
    /// Addresses at which the router reaches the server, one per family at most.
    pub servers: Vec<IpAddr>,
    /// UDP ports that knocks may ever come to.
    pub knock: Vec<PortRange>,
    /// Services.
    pub services: Vec<RouterService>,
    /// Bait groups.
    pub baits: Vec<Bait>,
    /// Networks that are never banned.
    pub never_ban: Vec<IpNet>,
    /// Guard or standalone.
    pub mode: Mode,
    /// Look of hidden ports.
    pub hide: Hide,
    /// Pardon or strict.
    pub authenticated: Authenticated,
}

/// A service as the router's rules need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterService {
    /// Name, `[a-z0-9-]{1,24}`.
    pub name: Arc<str>,
    /// Ports that clients ask for; empty: everything on the router.
    pub ports: Vec<ProtoPorts>,
    /// `Input`: on the router; `Forward`: behind it.
    pub packet_hook: PacketHook,
    /// Inner host that granted packets are sent on to.
    pub to: Option<Target>,
    /// Fate of flows whose grant has ended.
    pub established: Established,
}

impl RouterService {
    /// Name of the address list of granted sources, the same in both families.
    #[must_use]
    pub fn list(&self) -> String {
        format!("spa-{}", self.name)
    }
}
