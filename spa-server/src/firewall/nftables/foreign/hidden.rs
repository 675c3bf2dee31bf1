//! Judgement whether a service is hidden over one family: what a stranger's packet meets.

use super::judged::{Judged, unread_stop};
use super::packet::{Doubt, Packet};
use super::view::View;
use super::way::{Course, HookPoint, Stop, Trip};
use crate::domain::ports::ProtoPorts;
use crate::firewall::host_network::Link;
use crate::firewall::reach::ReachAnswer;
use crate::firewall::{Mode, PacketHook};

impl View<'_> {
    /// Judges whether no stranger reaches it.
    pub(super) fn judge_hidden(&self) -> Judged {
        if !self.question.hides {
            return Judged::new(
                ReachAnswer::No,
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
            return Judged::new(ReachAnswer::Undecided, why);
        }
        if !self.rules.interfaces.is_empty() && !entries.iter().any(|link| self.covers(link)) {
            return Judged::new(
                ReachAnswer::No,
                "no interface of [firewall] interfaces has an address",
            );
        }
        if let Some(open) = entries.iter().find(|link| !self.covers(link)) {
            let why = format!(
                "a default route leads to {}, which is not among [firewall] interfaces",
                open.name
            );
            return Judged::new(ReachAnswer::No, why);
        }
        if let Some(link) = self.find_without_address() {
            let why = format!(
                "packets to this host's addresses may come in by {}, which has none itself and is \
                 not among [firewall] interfaces: name it there, or set it down",
                link.name
            );
            return Judged::new(ReachAnswer::Undecided, why);
        }
        let (packets, whole) = self.list_packets();
        let mut judged = Judged::new(ReachAnswer::Yes, "our table hides it");
        if !whole {
            judged = Judged::new(ReachAnswer::Undecided, "it has more ports than are looked at");
        }
        for (link, packet) in packets {
            if let Some(unread) = self.find_unread(link, &["nat", "mangle", "raw"]) {
                judged = judged.worse(unread);
            }
            judged = judged.worse(self.judge_stranger(packet));
        }
        judged
    }

    /// Follows a stranger's first packet.
    fn judge_stranger(&self, packet: Packet) -> Judged {
        let host = self.host();
        let mut trip = Trip::begin(packet);
        trip.pass(&host, HookPoint::Ingress);
        trip.pass(&host, HookPoint::Prerouting);
        let mut judged = Judged::new(ReachAnswer::Yes, "our table hides it");
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

    /// Follows a stranger's packet behind prerouting.
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
            return Judged::new(ReachAnswer::Yes, "our table hides it");
        }
        if packet.own == Some(true) && translated_by.is_none() {
            let why = "a program listens on it on this host as well, which hook = \"forward\" does \
                not hide";
            return Judged::new(ReachAnswer::No, why);
        }
        let to = match &packet.server {
            Some(address) => format!("to {address}"),
            None => "elsewhere".to_owned(),
        };
        let outgoing = self.find_outgoing(&packet);
        let mut trip = Trip::begin(Packet { outgoing, ..packet });
        trip.pass(&self.host(), HookPoint::Forward);
        let leaks = trip.courses.first().map(|course| course.doubt.clone());
        let Some(leak) = leaks else {
            return Judged::new(ReachAnswer::Yes, "another firewall drops it");
        };
        let doubt = doubt.or(leak);
        let why = match &translated_by {
            Some((_, rule)) => format!("the {rule} sends it on {to}"),
            None => format!("it goes on {to}"),
        };
        let stop = translated_by.map(|(base, by)| Stop { base, by, taken_by: None, doubt: None });
        match doubt {
            None => Judged { stop, ..Judged::new(ReachAnswer::No, why) },
            Some(doubted) => {
                let why = format!("{why}, if the {} matches ({})", doubted.rule, doubted.what);
                let by_source = doubted.doubt == Doubt::Source;
                Judged { by_source, stop, ..Judged::new(ReachAnswer::Undecided, why) }
            }
        }
    }
}
