//! Judgement whether a grant opens a service over one family: what packets of its holder meet.

use std::collections::BTreeMap;

use super::judged::{Judged, judge_trip};
use super::packet::{FlowPlace, Packet};
use super::view::View;
use super::way::{Course, HookPoint, HostRules, Trip};
use crate::domain::ports::Protocol;
use crate::firewall::PacketHook;
use crate::firewall::nftables::forward_chains::BEFORE_DNAT;
use crate::firewall::reach::ReachAnswer;

/// Priority of our own translation (`forward_chains.rs`), just ahead of which others come first.
const BEFORE_OURS: i32 = BEFORE_DNAT - 1;

impl View<'_> {
    /// Judges whether a grant opens it.
    pub(super) fn judge_reachable(&self) -> Judged {
        let (packets, whole) = self.list_packets();
        let mut judged = Judged::new(ReachAnswer::Yes, "no other rule stops it");
        if !whole {
            judged = Judged::new(ReachAnswer::Undecided, "it has more ports than are looked at");
        }
        // Of several interfaces and addresses one may do where another does not.
        let mut by_port: BTreeMap<(Protocol, u16), (Judged, ReachAnswer)> = BTreeMap::new();
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
            if worst.answer == ReachAnswer::No && best != ReachAnswer::No {
                worst.answer = ReachAnswer::Undecided;
                worst.why = format!("not by each interface and address: {}", worst.why);
            }
            judged = judged.worse(worst);
        }
        judged
    }

    /// Follows the packets of somebody with a grant: first ones, answers and later ones.
    fn judge_grantee(&self, packet: Packet) -> Judged {
        let host = self.host();
        let behind = self.question.packet_hook == PacketHook::Forward;
        let packet = Packet { ordinary: true, ..packet };
        let mut trip = Trip::begin(packet.clone());
        trip.pass(&host, HookPoint::Ingress);
        if let Some(to) = self.question.to {
            trip.pass_between(&host, HookPoint::Prerouting, i32::MIN, BEFORE_OURS);
            for course in &mut trip.courses {
                let packet = &mut course.packet;
                (packet.own, packet.server) = (Some(false), Some(to.address));
                (packet.port, packet.translated) = (to.port.or(packet.port), true);
            }
            trip.pass_between(&host, HookPoint::Prerouting, BEFORE_OURS + 1, i32::MAX);
        } else {
            trip.pass(&host, HookPoint::Prerouting);
        }
        let mut judged = Judged::new(ReachAnswer::Yes, "no other rule stops it");
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
                    return Judged::new(ReachAnswer::No, format!("net.{key} is 0"));
                }
                None => {
                    let why = "whether the kernel forwards packets cannot be read";
                    judged = judged.worse(Judged::new(ReachAnswer::Undecided, why));
                }
            }
        }
        let sent_away = |course: &&Course| !behind && course.packet.own == Some(false);
        if let Some(course) = trip.courses.iter().find(sent_away) {
            let to = course.packet.server.map_or("another host".to_owned(), |to| to.to_string());
            let [forwards4, forwards6] = self.model.forwards;
            let forwards = if self.v4 { forwards4 } else { forwards6 };
            let answer = match (forwards, &course.doubt) {
                (Some(false), None) => ReachAnswer::No,
                _ => ReachAnswer::Undecided,
            };
            let why = format!("it is sent on to {to}, and what answers there is not known here");
            judged = judged.worse(Judged::new(answer, why));
        }
        // Without a target the inner port is unknown where another's NAT leads to it.
        let courses = trip.courses.clone();
        let mut first = Trip { courses: Vec::new(), stops: trip.stops };
        for course in courses {
            let hook =
                if course.packet.own == Some(true) { HookPoint::Input } else { HookPoint::Forward };
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
            if packet.own == Some(true) && !behind && packet.port.is_none() {
                let why = "a rule sends it to another port here, and which cannot be read";
                judged = judged.worse(Judged::new(ReachAnswer::Undecided, why));
            }
            if packet.own == Some(true) && !behind && !self.is_heard(packet, true) {
                let at = match packet.port {
                    Some(port) => format!("{}/{port}", packet.protocol),
                    None => packet.protocol.to_string(),
                };
                let why = format!("nobody listens on {at} here");
                // Of a range some ports are free most of the time.
                let one = self.question.ports.iter().all(|p| p.range.first == p.range.last);
                let answer = if one { ReachAnswer::No } else { ReachAnswer::Undecided };
                let unheard = Judged { unheard: true, ..Judged::new(answer, why) };
                judged = judged.worse(unheard);
            }
            judged = judged.worse(self.judge_rest(&host, packet));
        }
        judged
    }

    /// Follows the answer and a later packet of a flow.
    fn judge_rest(&self, host: &HostRules<'_>, first: &Packet) -> Judged {
        let here = first.own == Some(true);
        let answer = Packet {
            place: FlowPlace::Answer,
            incoming: first.outgoing.clone(),
            outgoing: first.incoming.clone(),
            tracked: true,
            // What conntrack did not see on its way in begins a flow on its way out.
            known_flow: first.tracked,
            ..first.clone()
        };
        let mut trip = Trip::begin(answer);
        if here {
            trip.pass(host, HookPoint::Output);
        } else {
            trip.pass(host, HookPoint::Forward);
        }
        trip.pass(host, HookPoint::Postrouting);
        trip.pass(host, HookPoint::Egress);
        let judged = judge_trip(&trip);
        let asked = Packet {
            place: FlowPlace::Later,
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
        trip.pass(host, HookPoint::Ingress);
        trip.pass(host, HookPoint::Prerouting);
        for course in &mut trip.courses {
            let packet = &mut course.packet;
            (packet.own, packet.server) = (first.own, first.server);
            (packet.port, packet.translated) = (first.port, first.translated);
        }
        trip.pass(host, if here { HookPoint::Input } else { HookPoint::Forward });
        judged.worse(judge_trip(&trip))
    }
}
