//! From the configuration to the rules of our table.

use std::net::IpAddr;
use std::sync::Arc;

use super::model::{CaptureMode, Config, Service};
use super::parsers::merge_ranges;
use crate::domain::ports::{PortRange, ProtoPorts};
use crate::firewall::reach::ReachQuestion;
use crate::firewall::routeros::{RouterRules, RouterService, Version};
use crate::firewall::{Established, Forward, PacketHook, Rules};

/// NFLOG group of knocks; the letters "SP". Groups below 100 are what other tools take by default.
pub const KNOCK_NFLOG_GROUP: u16 = 0x5350;
/// NFLOG group of bait hits.
pub const BAIT_NFLOG_GROUP: u16 = 0x5351;

impl Config {
    /// The rules for our table while knocks come to the ports `knock`.
    #[must_use]
    pub fn rules(&self, knock: &[PortRange]) -> Rules {
        self.rules_hiding(knock, |_| true)
    }

    /// The same, hiding only some services.
    #[must_use]
    pub fn rules_hiding(&self, knock: &[PortRange], hides: impl Fn(&Service) -> bool) -> Rules {
        // What is reached by a grant's DNAT only is hidden by nature.
        let hides = |service: &Service| service.to.is_some() || hides(service);
        Rules {
            mode: self.firewall.mode,
            hide: self.hide_beside(None),
            interfaces: self.firewall.interfaces.clone(),
            protected: self
                .ports(|s| hides(s) && (s.packet_hook == PacketHook::Input || s.to.is_some())),
            bound: self.bound(hides),
            forward: self.forward(hides),
            knock: knock.to_vec(),
            knock_accept: self.capture.mode == CaptureMode::Udp,
            knock_nflog: (self.capture.mode == CaptureMode::Nflog).then_some(KNOCK_NFLOG_GROUP),
            baits: self.baits.clone(),
            bait_nflog: BAIT_NFLOG_GROUP,
            never_ban: self.ban.never.clone(),
            ban_limit: self.ban.limit,
            authenticated: self.server.authenticated,
        }
    }

    /// The rules for a router in front of this host, which it reaches at these addresses.
    #[must_use]
    pub fn router_rules(&self, version: Version, wan: String, servers: Vec<IpAddr>) -> RouterRules {
        let service = |s: &Service| RouterService {
            name: Arc::clone(&s.name),
            ports: s.ports.clone(),
            packet_hook: s.packet_hook,
            to: s.to,
            established: s.established,
        };
        RouterRules {
            version,
            wan,
            servers,
            knock: self.sequence.stages.ranges(),
            services: self.services.iter().map(service).collect(),
            baits: self.baits.clone(),
            never_ban: self.ban.never.clone(),
            mode: self.firewall.mode,
            hide: self.hide_beside(None),
            authenticated: self.server.authenticated,
        }
    }

    /// Services to ask the model of the host about; those without ports hide nothing themselves.
    pub(crate) fn questions(&self, hides: impl Fn(&Service) -> bool) -> Vec<ReachQuestion> {
        let with_ports = self.services.iter().filter(|service| !service.ports.is_empty());
        with_ports
            .map(|service| ReachQuestion {
                service: service.name.to_string(),
                ports: service.ports.clone(),
                packet_hook: service.packet_hook,
                to: service.to,
                hides: service.to.is_some() || hides(service),
            })
            .collect()
    }

    fn ports(&self, which: impl Fn(&Service) -> bool) -> Vec<ProtoPorts> {
        merge_ranges(
            self.services.iter().filter(|s| which(s)).flat_map(|s| s.ports.iter().copied()),
        )
    }

    /// Ports of this host whose flows live only as long as a grant. A service for everything names
    /// none: it speaks for those of the others.
    fn bound(&self, hides: impl Fn(&Service) -> bool) -> Vec<ProtoPorts> {
        let here = |s: &Service| s.packet_hook == PacketHook::Input && hides(s);
        let drops = |s: &Service| s.established == Established::Drop;
        let all = self.services.iter().any(|s| here(s) && drops(s) && s.ports.is_empty());
        self.ports(|s| here(s) && (all || drops(s)))
    }

    fn forward(&self, hides: impl Fn(&Service) -> bool) -> Vec<Forward> {
        let behind =
            self.services.iter().filter(|s| s.packet_hook == PacketHook::Forward && hides(s));
        behind
            .map(|s| Forward { ports: s.ports.clone(), to: s.to, established: s.established })
            .collect()
    }
}
