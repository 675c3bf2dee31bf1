//! One service over one family: what a stranger's packet meets, and what those of somebody with a
//! grant.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::judged::Judged;
use super::model::HostModel;
use super::packet::{Device, Doubt, Packet, Place};
use super::sample::sample_ports;
use super::way::{Course, Hook, Host, Stop, Trip};
use crate::domain::ports::{ProtoPorts, Protocol};
use crate::firewall::host_network::Link;
use crate::firewall::nftables::abi;
use crate::firewall::nftables::forward_chains::BEFORE_DNAT;
use crate::firewall::reach::{Answer, Question};
use crate::firewall::{Mode, PacketHook, Rules};
use crate::sockets::{Socket, SocketState};

/// Priority of our own translation (`forward_chains.rs`), just ahead of which others come first.
const BEFORE_OURS: i32 = BEFORE_DNAT - 1;
/// Most interfaces, addresses and ports that are asked for one by one; more make the answer a
/// doubt.
const MAX_EACH: usize = 64;

/// One service over one family.
pub(super) struct View<'m> {
    /// The host.
    pub(super) model: &'m HostModel,
    /// Our rules.
    pub(super) rules: &'m Rules,
    /// The service.
    pub(super) question: &'m Question,
    /// IPv4, or else IPv6.
    pub(super) v4: bool,
}

impl View<'_> {
    fn host(&self) -> Host<'_> {
        Host { foreign: &self.model.foreign, network: &self.model.network }
    }

    fn family(&self) -> u8 {
        if self.v4 { abi::NFPROTO_IPV4 } else { abi::NFPROTO_IPV6 }
    }

    /// Our rules hide what comes in by it.
    fn covers(&self, link: &Link) -> bool {
        let names = &self.rules.interfaces;
        names.is_empty() || names.contains(&link.name)
    }

    /// Interfaces by which strangers come in: where a default route leads, and where our rules
    /// hide.
    fn list_entries(&self) -> Vec<&Link> {
        let links = self.model.network.links();
        let comes_in = |link: &&Link| link.up && !link.loopback && link.master.is_none();
        let wanted = |link: &&Link| {
            link.has_default_route(self.v4) || (link.has_address(self.v4) && self.covers(link))
        };
        links.filter(comes_in).filter(wanted).collect()
    }

    /// First packets that stand for all that strangers may send.
    fn list_packets(&self) -> (Vec<(Option<&Link>, Packet)>, bool) {
        let numbers = self.model.foreign.list_numbers();
        let links = self.model.network.links().filter(|link| !link.loopback);
        let own: Vec<IpAddr> = links.flat_map(|link| link.list_global(self.v4)).collect();
        // While no interface is up, one of which nothing is known stands for those to come.
        let links = self.list_entries().into_iter().map(Some).collect::<Vec<_>>();
        let links = if links.is_empty() { vec![None] } else { links };
        let own: Vec<_> = own.into_iter().map(Some).collect();
        let own = if own.is_empty() { vec![None] } else { own };
        let all = self.model.network.links();
        let routes = all.filter(|link| self.has_default_route(Some(link))).count();
        let mut packets = Vec::new();
        for link in links {
            for ports in &self.question.ports {
                for port in sample_ports(ports.range, &numbers) {
                    for address in &own {
                        let mut packet = Packet::first(self.family(), ports.protocol, port);
                        packet.client = self.model.source;
                        packet.server = *address;
                        packet.incoming = link.map(|link| Device {
                            index: link.index,
                            name: link.name.clone(),
                            leads_back: routes == 1 && self.has_default_route(Some(link)),
                        });
                        packets.push((link, packet));
                    }
                }
            }
        }
        let whole = packets.len() <= MAX_EACH * MAX_EACH;
        packets.truncate(MAX_EACH * MAX_EACH);
        (packets, whole)
    }

    /// What cannot be read ahead of every rule.
    fn find_unread(&self, link: Option<&Link>, tables: &[&str]) -> Option<Judged> {
        let [legacy4, legacy6] = &self.model.legacy;
        let legacy = if self.v4 { legacy4 } else { legacy6 };
        let table = legacy.iter().find(|table| tables.contains(&&***table));
        let table = table.map(|table| {
            let tool = if self.v4 { "iptables" } else { "ip6tables" };
            format!("the legacy {tool} table {table} cannot be read: {tool}-legacy -t {table} -S")
        });
        let ports = link.into_iter().flat_map(|link| self.model.network.ports_of(link));
        let ahead = { ports }.find_map(|port| {
            let what = port.ahead?;
            Some(format!("{what} on {} sees packets first, and cannot be read", port.name))
        });
        ahead.or(table).map(|why| Judged::new(Answer::Undecided, why))
    }

    /// Whether no stranger reaches it.
    pub(super) fn judge_hidden(&self) -> Judged {
        if !self.question.hides {
            return Judged::new(
                Answer::No,
                "no client has opened it once, so it is not hidden yet",
            );
        }
        let entries = self.list_entries();
        let shares = |link: &&&Link| {
            let below = self.model.network.find_sharing(link);
            below.is_some_and(|below| self.covers(below) != self.covers(link))
        };
        if let Some(link) = entries.iter().find(shares) {
            let why = format!(
                "packets to {} may come in by the interface below it as well, and only one of the \
                 two is among [firewall] interfaces",
                link.name
            );
            return Judged::new(Answer::Undecided, why);
        }
        if !self.rules.interfaces.is_empty() && !entries.iter().any(|link| self.covers(link)) {
            return Judged::new(Answer::No, "no interface of [firewall] interfaces has an address");
        }
        if let Some(open) = entries.iter().find(|link| !self.covers(link)) {
            let why = format!(
                "a default route leads to {}, which is not among [firewall] interfaces",
                open.name
            );
            return Judged::new(Answer::No, why);
        }
        let (packets, whole) = self.list_packets();
        let mut judged = Judged::new(Answer::Yes, "our table hides it");
        if !whole {
            judged = Judged::new(Answer::Undecided, "it has more ports than are looked at");
        }
        for (link, packet) in packets {
            if let Some(unread) = self.find_unread(link, &["nat", "mangle", "raw"]) {
                judged = judged.worse(unread);
            }
            judged = judged.worse(self.judge_stranger(packet));
        }
        judged
    }

    /// What a stranger's first packet meets.
    fn judge_stranger(&self, packet: Packet) -> Judged {
        let host = self.host();
        let mut trip = Trip::begin(packet);
        trip.pass(&host, Hook::Ingress);
        trip.pass(&host, Hook::Prerouting);
        let mut judged = Judged::new(Answer::Yes, "our table hides it");
        for stop in &trip.stops {
            // A transparent proxy changes no port: what it takes still comes to our input chain.
            let proxied =
                stop.taken_by.as_deref().is_some_and(|to| to.eq_ignore_ascii_case("tproxy"));
            let hidden = proxied && self.question.packet_hook == PacketHook::Input;
            if stop.taken_by.is_some() && !hidden {
                judged = judged.worse(unread_stop(stop));
            }
        }
        for course in trip.courses {
            judged = judged.worse(self.judge_arrival(course));
        }
        judged
    }

    /// What a stranger's packet meets behind prerouting.
    fn judge_arrival(&self, course: Course) -> Judged {
        let Course { packet, doubt, translated_by } = course;
        let names = |all: &[ProtoPorts], port: Option<u16>| {
            all.iter().any(|ports| {
                ports.protocol == packet.protocol
                    && port.is_some_and(|port| ports.range.contains(port))
            })
        };
        let (asked, now) = (Some(packet.asked), packet.port);
        let behind: Vec<ProtoPorts> =
            self.rules.forward.iter().flat_map(|forward| forward.ports.clone()).collect();
        let here = names(&self.rules.protected, asked)
            || names(&self.rules.protected, now)
            || self.rules.mode == Mode::Standalone;
        let hidden = match packet.own {
            Some(true) if self.question.packet_hook == PacketHook::Input => here,
            // Of a service behind this host, its own port is another's.
            Some(true) => here || !self.is_heard(&packet, false),
            Some(false) => names(&behind, asked),
            None => here && names(&behind, asked),
        };
        if hidden {
            return Judged::new(Answer::Yes, "our table hides it");
        }
        if packet.own == Some(true) && translated_by.is_none() {
            let why = "a program listens on it on this host as well, which hook = \"forward\" does \
                not hide";
            return Judged::new(Answer::No, why);
        }
        let to = match &packet.server {
            Some(address) => format!("to {address}"),
            None => "elsewhere".to_owned(),
        };
        let outgoing = self.find_outgoing(&packet);
        let mut trip = Trip::begin(Packet { outgoing, ..packet });
        trip.pass(&self.host(), Hook::Forward);
        let leaks = trip.courses.first().map(|course| course.doubt.clone());
        let Some(leak) = leaks else {
            return Judged::new(Answer::Yes, "another firewall drops it");
        };
        let doubt = doubt.or(leak);
        let why = match &translated_by {
            Some((_, rule)) => format!("the {rule} sends it on {to}"),
            None => format!("it goes on {to}"),
        };
        let stop = translated_by.map(|(base, by)| Stop { base, by, taken_by: None, doubt: None });
        match doubt {
            None => Judged { stop, ..Judged::new(Answer::No, why) },
            Some(doubted) => {
                let why = format!("{why}, if the {} matches ({})", doubted.rule, doubted.what);
                let by_source = doubted.doubt == Doubt::Source;
                Judged { by_source, stop, ..Judged::new(Answer::Undecided, why) }
            }
        }
    }

    /// Whether a grant opens it.
    pub(super) fn judge_reachable(&self) -> Judged {
        let (packets, whole) = self.list_packets();
        let mut judged = Judged::new(Answer::Yes, "no other rule stops it");
        if !whole {
            judged = Judged::new(Answer::Undecided, "it has more ports than are looked at");
        }
        // Of several interfaces and addresses one may do where another does not.
        let mut by_port: BTreeMap<(Protocol, u16), (Judged, Answer)> = BTreeMap::new();
        let with_route = packets.iter().any(|(link, _)| self.has_default_route(*link));
        for (link, packet) in packets {
            if with_route && !self.has_default_route(link) {
                continue;
            }
            let port = (packet.protocol, packet.asked);
            let mut one = self.judge_grantee(packet);
            if let Some(unread) = self.find_unread(link, &["filter", "nat", "mangle", "raw"]) {
                one = one.worse(unread);
            }
            let best = one.answer;
            by_port
                .entry(port)
                .and_modify(|(worst, known)| {
                    *worst = worst.clone().worse(one.clone());
                    *known = best.min(*known);
                })
                .or_insert((one, best));
        }
        for (mut worst, best) in by_port.into_values() {
            if worst.answer == Answer::No && best != Answer::No {
                worst.answer = Answer::Undecided;
                worst.why = format!("not by each interface and address: {}", worst.why);
            }
            judged = judged.worse(worst);
        }
        judged
    }

    fn has_default_route(&self, link: Option<&Link>) -> bool {
        link.is_some_and(|link| link.has_default_route(self.v4))
    }

    /// What the packets of somebody with a grant meet, first ones, answers and later ones.
    fn judge_grantee(&self, packet: Packet) -> Judged {
        let host = self.host();
        let behind = self.question.packet_hook == PacketHook::Forward;
        let packet = Packet { ordinary: true, ..packet };
        let mut trip = Trip::begin(packet.clone());
        trip.pass(&host, Hook::Ingress);
        if let Some(to) = self.question.to {
            trip.pass_between(&host, Hook::Prerouting, i32::MIN, BEFORE_OURS);
            for course in &mut trip.courses {
                let packet = &mut course.packet;
                (packet.own, packet.server) = (Some(false), Some(to.address));
                (packet.port, packet.translated) = (to.port.or(packet.port), true);
            }
            trip.pass_between(&host, Hook::Prerouting, BEFORE_OURS + 1, i32::MAX);
        } else {
            trip.pass(&host, Hook::Prerouting);
        }
        let mut judged = Judged::new(Answer::Yes, "no other rule stops it");
        let mut arrived = Vec::new();
        for mut course in std::mem::take(&mut trip.courses) {
            // Nobody sends it on: the host behind this one is asked for itself.
            if behind && course.packet.own == Some(true) {
                (course.packet.own, course.packet.server) = (Some(false), None);
            }
            arrived.push(course);
        }
        trip.courses = arrived;
        let forwarded = trip.courses.iter().any(|course| course.packet.own != Some(true));
        if forwarded && behind {
            let [forwards4, forwards6] = self.model.forwards;
            match if self.v4 { forwards4 } else { forwards6 } {
                Some(true) => {}
                Some(false) => {
                    let key = if self.v4 { "ipv4.ip_forward" } else { "ipv6.conf.all.forwarding" };
                    return Judged::new(Answer::No, format!("net.{key} is 0"));
                }
                None => {
                    let why = "whether the kernel forwards packets cannot be read";
                    judged = judged.worse(Judged::new(Answer::Undecided, why));
                }
            }
        }
        // Without a target the inner port is unknown where another's NAT leads to it.
        let courses = trip.courses.clone();
        let mut first = Trip { courses: Vec::new(), stops: trip.stops };
        for course in courses {
            let hook = if course.packet.own == Some(true) { Hook::Input } else { Hook::Forward };
            let mut part = Trip { courses: vec![course], stops: Vec::new() };
            for Course { packet, .. } in &mut part.courses {
                packet.outgoing = self.find_outgoing(packet);
            }
            part.pass(&host, hook);
            first.courses.append(&mut part.courses);
            first.stops.append(&mut part.stops);
        }
        judged = judged.worse(judge_trip(&first));
        for course in &first.courses {
            let packet = &course.packet;
            if packet.own == Some(true) && !behind && !self.is_heard(packet, true) {
                let at = match packet.port {
                    Some(port) => format!("{}/{port}", packet.protocol),
                    None => packet.protocol.to_string(),
                };
                let why = format!("nobody listens on {at} here");
                // Of a range some ports are free most of the time.
                let one = self.question.ports.iter().all(|p| p.range.first == p.range.last);
                let answer = if one { Answer::No } else { Answer::Undecided };
                let unheard = Judged { unheard: true, ..Judged::new(answer, why) };
                judged = judged.worse(unheard);
            }
            judged = judged.worse(self.judge_rest(&host, packet));
        }
        judged
    }

    /// What the answer and a later packet of a flow meet.
    fn judge_rest(&self, host: &Host<'_>, first: &Packet) -> Judged {
        let here = first.own == Some(true);
        let answer = Packet {
            place: Place::Answer,
            incoming: first.outgoing.clone(),
            outgoing: first.incoming.clone(),
            tracked: true,
            // What conntrack did not see on its way in begins a flow on its way out.
            known_flow: first.tracked,
            ..first.clone()
        };
        let mut trip = Trip::begin(answer);
        if here {
            trip.pass(host, Hook::Output);
        } else {
            trip.pass(host, Hook::Forward);
        }
        trip.pass(host, Hook::Postrouting);
        trip.pass(host, Hook::Egress);
        let judged = judge_trip(&trip);
        let asked = Packet {
            place: Place::Later,
            port: Some(first.asked),
            translated: false,
            tracked: true,
            known_flow: first.tracked,
            own: if self.question.packet_hook == PacketHook::Input {
                Some(true)
            } else {
                first.own
            },
            ..first.clone()
        };
        let mut trip = Trip::begin(asked);
        trip.pass(host, Hook::Ingress);
        trip.pass(host, Hook::Prerouting);
        for course in &mut trip.courses {
            let packet = &mut course.packet;
            (packet.own, packet.server) = (first.own, first.server);
            (packet.port, packet.translated) = (first.port, first.translated);
        }
        trip.pass(host, if here { Hook::Input } else { Hook::Forward });
        judged.worse(judge_trip(&trip))
    }

    /// Interface by which a packet for a host behind this one goes out.
    fn find_outgoing(&self, packet: &Packet) -> Option<Device> {
        let to = packet.server.filter(|_| packet.own == Some(false))?;
        let link = self.model.network.find_link_to(to)?;
        Some(Device { index: link.index, name: link.name.clone(), leads_back: false })
    }

    /// A program listens for the packet; `unknown` where that was not asked.
    fn is_heard(&self, packet: &Packet, unknown: bool) -> bool {
        let hears = |socket: &Socket| {
            let ip = socket.local.ip();
            // An unspecified IPv6 address stands for IPv4 as well.
            let address = match ip {
                IpAddr::V6(v6) if v6.is_unspecified() => true,
                IpAddr::V4(v4) if v4.is_unspecified() => self.v4,
                ip => packet.server.is_none_or(|server| server == ip),
            };
            socket.state == SocketState::Listening
                && socket.protocol == packet.protocol
                && packet.port.is_none_or(|port| port == socket.local.port())
                && address
        };
        self.model.sockets.as_ref().map_or(unknown, |sockets| sockets.iter().any(hears))
    }
}

/// Whether a packet gets through to the end of its way.
fn judge_trip(trip: &Trip) -> Judged {
    let Trip { courses, stops } = trip;
    if let Some(stop) = stops.iter().find(|stop| stop.taken_by.is_some()) {
        return unread_stop(stop);
    }
    let Some(stop) = stops.iter().min_by_key(|stop| stop.doubt.is_some()) else {
        return Judged::new(Answer::Yes, "no other rule stops it");
    };
    let drops = format!("the {} drops it", stop.by);
    if courses.is_empty() {
        return Judged { stop: Some(stop.clone()), ..Judged::new(Answer::No, drops) };
    }
    let doubts = courses.iter().filter_map(|course| course.doubt.as_ref());
    let doubts: Vec<_> = doubts.chain(stops.iter().filter_map(|s| s.doubt.as_ref())).collect();
    let Some(gravest) = doubts.iter().max_by_key(|doubted| doubted.doubt) else {
        return Judged { stop: Some(stop.clone()), ..Judged::new(Answer::Undecided, drops) };
    };
    let by_source = gravest.doubt == Doubt::Source;
    let whose = if by_source { "by the source" } else { "by what cannot be read" };
    let why = format!("{drops} or not, {whose}: the {} asks `{}`", gravest.rule, gravest.what);
    Judged { by_source, stop: Some(stop.clone()), ..Judged::new(Answer::Undecided, why) }
}

fn unread_stop(stop: &Stop) -> Judged {
    let to = stop.taken_by.as_deref().unwrap_or("somebody");
    let why = format!("the {} hands it to {to}, and what follows cannot be read", stop.by);
    Judged { stop: Some(stop.clone()), ..Judged::new(Answer::Undecided, why) }
}
