//! The way of a packet through the hooks of other people, from the card to the socket.

use super::packet::{FlowPlace, Packet};
use super::rules::{BaseChain, ForeignRules, ObjectName};
use super::step::NewDestination;
use super::walk::{ChainEnd, Doubted, RuleLocation, graver};
use crate::firewall::host_network::HostNetwork;
use crate::firewall::nftables::abi;

/// Most ways that one packet may take; beyond, what becomes of it is not read.
const MAX_COURSES: usize = 16;

/// Hook of a packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HookPoint {
    /// Of the device that it comes in by, and of the bridge that this is.
    Ingress,
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
    /// Of the device that it goes out by.
    Egress,
}

/// Rules and network that packets go through.
pub(super) struct HostRules<'h> {
    /// Other people's rules.
    pub(super) foreign: &'h ForeignRules,
    /// Interfaces, addresses and routes.
    pub(super) network: &'h HostNetwork,
}

/// A packet on its way.
#[derive(Clone, Debug)]
pub(super) struct Course {
    /// The packet as it is here.
    pub(super) packet: Packet,
    /// Set when it comes here only if a rule matches of which we do not know.
    pub(super) doubt: Option<Doubted>,
    /// Base chain and rule that have translated it.
    pub(super) translated_by: Option<(ObjectName, RuleLocation)>,
}

/// End of a way before its goal.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    /// The base chain.
    pub(super) base: ObjectName,
    /// Rule or policy that decides it.
    pub(super) by: RuleLocation,
    /// Taker of the packet; `None`: it is dropped.
    pub(super) taken_by: Option<String>,
    /// Set when it comes only if a rule matches of which we do not know.
    pub(super) doubt: Option<Doubted>,
}

/// All ways that a packet may take.
#[derive(Clone, Debug)]
pub(super) struct Trip {
    /// Where it still is on its way.
    pub(super) courses: Vec<Course>,
    /// Where it has ended.
    pub(super) stops: Vec<Stop>,
}

impl Trip {
    /// Begins with a packet.
    pub(super) fn begin(packet: Packet) -> Self {
        Self {
            courses: vec![Course { packet, doubt: None, translated_by: None }],
            stops: Vec::new(),
        }
    }

    /// Takes it through a hook, as far as the chains with priorities from `first` to `last`.
    pub(super) fn pass_between(
        &mut self,
        host: &HostRules<'_>,
        hook: HookPoint,
        first: i32,
        last: i32,
    ) {
        let within = |base: &&BaseChain| (first..=last).contains(&base.priority);
        for base in host.foreign.base_chains.iter().filter(within) {
            for course in std::mem::take(&mut self.courses) {
                if host.meets(base, hook, &course.packet) {
                    self.pass_chain(host, hook, base, course);
                } else {
                    self.courses.push(course);
                }
            }
        }
        for course in &mut self.courses {
            course.packet.past_conntrack |= hook != HookPoint::Ingress;
        }
    }

    /// Takes it through a whole hook.
    pub(super) fn pass(&mut self, host: &HostRules<'_>, hook: HookPoint) {
        self.pass_between(host, hook, i32::MIN, i32::MAX);
    }

    fn pass_chain(
        &mut self,
        host: &HostRules<'_>,
        hook: HookPoint,
        base: &BaseChain,
        course: Course,
    ) {
        let Course { mut packet, doubt, translated_by } = course;
        packet.past_conntrack = match hook {
            HookPoint::Ingress => false,
            HookPoint::Prerouting | HookPoint::Output => base.priority > abi::CONNTRACK_PRIORITY,
            _ => true,
        };
        let walk = host.foreign.walk(base, &packet);
        packet.tracked &= !walk.untracked || packet.past_conntrack;
        for end in walk.ends {
            let doubt = graver(&doubt, end.doubt);
            let stop = |taken_by| Stop {
                base: base.name.clone(),
                by: end.by.clone(),
                taken_by,
                doubt: doubt.clone(),
            };
            match end.end {
                ChainEnd::Passes => {
                    let (packet, translated_by) = (packet.clone(), translated_by.clone());
                    self.courses.push(Course { packet, doubt, translated_by });
                }
                ChainEnd::Translates(to) => {
                    let packet = host.translate(packet.clone(), to);
                    let translated_by = Some((base.name.clone(), end.by.clone()));
                    self.courses.push(Course { packet, doubt, translated_by });
                }
                ChainEnd::Drops | ChainEnd::Refuses => self.stops.push(stop(None)),
                ChainEnd::HandsOver(to) => self.stops.push(stop(Some(to))),
            }
        }
        if self.courses.len() > MAX_COURSES {
            self.courses.truncate(MAX_COURSES);
            self.stops.push(Stop {
                base: base.name.clone(),
                by: RuleLocation { chain: base.name.clone(), handle: None },
                taken_by: Some("more ways than are followed".to_owned()),
                doubt: None,
            });
        }
    }
}

impl HostRules<'_> {
    /// Tells whether a chain sees a packet at a hook.
    fn meets(&self, base: &BaseChain, hook: HookPoint, packet: &Packet) -> bool {
        // Of a flow that conntrack knows, and once a translation is made, no other is asked for.
        if base.translates
            && (packet.place != FlowPlace::First || packet.translated || !packet.tracked)
        {
            return false;
        }
        let number = match hook {
            HookPoint::Ingress => return self.meets_device(base, packet),
            HookPoint::Egress => {
                let device = packet.outgoing.as_ref().map(|device| &device.name);
                return base.name.family == abi::NFPROTO_NETDEV
                    && base.hook == abi::HOOK_NETDEV_EGRESS
                    && device.is_none_or(|device| base.devices.contains(device));
            }
            HookPoint::Prerouting => abi::HOOK_PREROUTING,
            HookPoint::Input => abi::HOOK_INPUT,
            HookPoint::Forward => abi::HOOK_FORWARD,
            HookPoint::Output => abi::HOOK_OUTPUT,
            HookPoint::Postrouting => abi::HOOK_POSTROUTING,
        };
        let family = [abi::NFPROTO_INET, packet.family].contains(&base.name.family);
        family && base.hook == number
    }

    /// Tells whether a chain sees packets of a device as they come in, or as its bridge has them.
    fn meets_device(&self, base: &BaseChain, packet: &Packet) -> bool {
        let link = packet.incoming.as_ref().and_then(|device| self.network.find(&device.name));
        let Some(link) = link else { return false };
        match (base.name.family, base.hook) {
            (abi::NFPROTO_NETDEV, abi::HOOK_NETDEV_INGRESS)
            | (abi::NFPROTO_INET, abi::HOOK_INGRESS) => {
                self.network.ports_of(link).any(|port| base.devices.contains(&port.name))
            }
            (abi::NFPROTO_BRIDGE, abi::HOOK_PREROUTING | abi::HOOK_INPUT) => link.kind == "bridge",
            _ => false,
        }
    }

    /// A packet after a translation.
    fn translate(&self, mut packet: Packet, to: NewDestination) -> Packet {
        packet.translated = true;
        if let Some(port) = to.port {
            packet.port = port;
        }
        if to.here {
            (packet.own, packet.server) = (Some(true), None);
        } else {
            let own = |address| self.network.links().any(|link| link.addresses.contains(&address));
            // Without an address only the port is new.
            if to.address.is_some() || to.port.is_none_or(|port| port.is_none()) {
                (packet.own, packet.server) = (to.address.map(own), to.address);
            }
        }
        packet
    }
}
