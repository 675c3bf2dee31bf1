//! Checks that look at several sections at once.

use std::collections::HashMap;

use super::findings::Report;
use super::host::FirewallRead;
use super::model::{Backend, CaptureMode, SequenceSettings, Stages};
use super::parsers::{expand_ports, ports_left};
use super::services::{BaitRead, SequenceRead, ServiceRead};
use super::span::{NO_SPAN, Span};
use crate::domain::grant::Scope;
use crate::domain::ports::{PortRange, ProtoPorts, Protocol};
use crate::firewall::{Hide, Mode};

/// Two services or two baits of one name, or services whose numbers on the wire are the same.
pub(super) fn check_names(report: &mut Report<'_>, services: &[ServiceRead], baits: &[BaitRead]) {
    if services.is_empty() {
        report.warning(&NO_SPAN, "no [[service]]: there is nothing that a knock could open");
    }
    let mut seen: HashMap<&str, &Span> = HashMap::new();
    let mut numbers: HashMap<u16, &str> = HashMap::new();
    for ServiceRead { service, name_span, .. } in
        services.iter().filter(|s| !s.service.name.is_empty())
    {
        let name = service.name.as_ref();
        if let Some(first) = seen.insert(name, name_span) {
            let line = report.line(first.start);
            report.error(
                name_span,
                format!("there is a service `{name}` already, in line {line}: rename one"),
            );
        } else if let Some(other) = numbers.insert(service.id, name) {
            report.error(
                name_span,
                format!(
                    "`{name}` and `{other}` have the same number on the wire ({:#06x}): rename one",
                    service.id
                ),
            );
        }
    }
    let mut seen: HashMap<&str, &Span> = HashMap::new();
    for BaitRead { bait, name_span, .. } in baits.iter().filter(|b| !b.bait.name.is_empty()) {
        if let Some(first) = seen.insert(&bait.name, name_span) {
            let line = report.line(first.start);
            report.error(
                name_span,
                format!("there is a bait `{}` already, in line {line}: rename one", bait.name),
            );
        }
    }
}

/// Knock ports against the services', the baits' and the kernel's own.
pub(super) fn knock_ports(
    report: &mut Report<'_>,
    sequence: &SequenceRead,
    services: &[ServiceRead],
    baits: &[BaitRead],
    local: Option<PortRange>,
) {
    let stages = &sequence.sequence.stages;
    let knocks = &sequence.sequence;
    for ServiceRead { service, ports_span, .. } in services {
        let ports = match &service.scope {
            Scope::Ports(ports) => ports,
            Scope::Inside(ports) if service.to.is_some() => ports,
            _ => continue,
        };
        let is_udp = |p: &&ProtoPorts| p.protocol == Protocol::Udp;
        let mut udp = ports.iter().filter(is_udp).flat_map(|p| p.range.first..=p.range.last);
        let taken = udp.find(|port| knocks.may_use(*port)).map(|port| format!("udp/{port}"));
        if let Some(port) = taken {
            let way_out = match stages {
                Stages::Fixed(_) => "move the stage to another port",
                Stages::Hop { .. } => "add it to hop-exclude",
            };
            report.error(
                ports_span,
                format!("{port} is a knock port too, and knocks never reach a service: {way_out}"),
            );
        }
    }
    bait_over_fixed(report, knocks, baits);
    if let Stages::Hop { range, exclude, .. } = stages {
        for (bait, port) in baits.iter().flat_map(|b| b.ports.iter().map(move |port| (b, port))) {
            let range_of_bait = port.value.range;
            let common = PortRange {
                first: range.first.max(range_of_bait.first),
                last: range.last.min(range_of_bait.last),
            };
            let overlap = port.value.protocol == Protocol::Udp
                && range.overlaps(range_of_bait)
                && ports_left(common, exclude) > 0;
            if overlap {
                let name = &bait.bait.name;
                report.warning(
                    &port.span,
                    format!(
                        "bait `{name}` covers ports that the stages hop \
                    to: a knock that is an epoch late bans its sender; add {common} to \
                    hop-exclude"
                    ),
                );
            }
        }
    }
    let Some(local) = local else { return };
    let used = (local.first..=local.last).find(|port| knocks.may_use(*port));
    if let Some(port) = used {
        report.warning(
            &sequence.ports_span,
            format!(
                "knock port {port} lies in the range {local} that the kernel takes local ports \
                 from: replies to our own UDP sockets there would be taken for knocks; choose \
                 other ports or change net.ipv4.ip_local_port_range"
            ),
        );
    }
}

/// Baits at ports that knocks always go to: there the table takes the packet for a knock.
fn bait_over_fixed(report: &mut Report<'_>, knocks: &SequenceSettings, baits: &[BaitRead]) {
    let fixed: &[u16] = match &knocks.stages {
        Stages::Fixed(ports) => ports,
        Stages::Hop { .. } => &[],
    };
    for (bait, port) in baits.iter().flat_map(|b| b.ports.iter().map(move |port| (b, port))) {
        let range = port.value.range;
        let mut knock_ports = fixed.iter().chain(&knocks.previous);
        let taken = knock_ports.find(|knock| range.contains(**knock));
        if let Some(knock) = taken.filter(|_| port.value.protocol == Protocol::Udp) {
            report.warning(
                &port.span,
                format!(
                    "the knock port udp/{knock} lies in bait `{}`: who touches it is taken for a \
                     client and not banned; leave it out of the bait",
                    bait.bait.name
                ),
            );
        }
    }
}

/// Baits that would catch a user of a service.
pub(super) fn bait_over_service(
    report: &mut Report<'_>,
    services: &[ServiceRead],
    baits: &[BaitRead],
) {
    for BaitRead { bait, ports, .. } in baits.iter().filter(|b| !b.bait.unless_secured) {
        for port in ports {
            let mut named = services.iter().filter(|s| !s.service.name.is_empty());
            let caught = named.find_map(|s| {
                s.service
                    .ports
                    .iter()
                    .find(|p| find_overlap(**p, port.value))
                    .map(|p| (&s.service.name, p))
            });
            if let Some((service, its)) = caught {
                report.warning(
                    &port.span,
                    format!(
                        "bait `{}` covers {its} of service `{service}`: its users are banned \
                        when they connect; write unless = [\"secured\"]",
                        bait.name
                    ),
                );
            }
        }
    }
}

/// Baits that a datagram in anybody's name touches: over UDP a source proves nothing.
pub(super) fn bait_on_udp(report: &mut Report<'_>, baits: &[BaitRead]) {
    for BaitRead { bait, ports, .. } in baits {
        let udp = ports.iter().find(|port| port.value.protocol == Protocol::Udp);
        if let Some(port) = udp {
            report.warning(
                &port.span,
                format!(
                    "bait `{}` has {}: one forged datagram there bans whomever it names as its \
                     sender; take TCP ports, or list under [ban] never whom you cannot do without",
                    bait.name, port.value
                ),
            );
        }
    }
}

/// Reports what a stranger's scan shows, and modes that hide nothing.
pub(super) fn what_stands_out(
    report: &mut Report<'_>,
    read: &FirewallRead,
    services: &[ServiceRead],
    baits: &[BaitRead],
    capture: CaptureMode,
) {
    let FirewallRead { firewall, mode_span, hide_span } = read;
    // Among errors, what a scan would see is a guess.
    if firewall.backend == Backend::Observe || report.has_errors() {
        return;
    }
    let ports: Vec<String> =
        services.iter().flat_map(|s| s.service.ports.iter().map(ToString::to_string)).collect();
    // The silence of a knock port is a rule of ours; a refusal is the kernel's own word, where
    // nothing else drops it.
    let silent = [("the knock ports", true), ("the bait ports", !baits.is_empty())];
    let refused = [("the bait ports", !baits.is_empty())];
    match (firewall.mode, firewall.hide) {
        (Mode::Guard, _) if ports.is_empty() && !services.is_empty() => report.warning(
            mode_span,
            "mode = \"guard\" drops only the ports of services, and no service names a port: \
             nothing is hidden; name ports or write mode = \"standalone\"",
        ),
        (Mode::Guard, _) if ports.is_empty() => {}
        (Mode::Guard, None) => {}
        (Mode::Guard, Some(Hide::Drop)) => report.note(
            hide_span,
            format!(
                "to a scan {} stay silent: they stand out where this host refuses its closed \
                ports, and hide = \"auto\" makes them alike",
                list_first(&ports, &silent)
            ),
        ),
        (Mode::Guard, Some(Hide::Closed)) => report.note(
            hide_span,
            format!(
                "to a scan {} look closed: they stand out where another firewall keeps this \
                host's closed ports silent, and hide = \"auto\" makes them alike",
                list_first(&ports, &refused)
            ),
        ),
        (Mode::Standalone, Some(Hide::Closed)) => {
            report.note(
                hide_span,
                "every port is refused like a closed one: a scan sees that the \
                host is up",
            );
        }
        (Mode::Standalone, None | Some(Hide::Drop)) => {}
    }
    if capture == CaptureMode::Udp
        && firewall.mode == Mode::Guard
        && firewall.hide != Some(Hide::Drop)
    {
        report.note(
            hide_span,
            "capture mode \"udp\" binds the knock ports: they stay silent, and so they stand out \
            where this host refuses its closed ports",
        );
    }
}

/// Baits that share ports: the first in the file wins.
pub(super) fn bait_over_bait(report: &mut Report<'_>, baits: &[BaitRead]) {
    for (at, later) in baits.iter().enumerate() {
        for port in &later.ports {
            let first = baits
                .iter()
                .take(at)
                .find(|b| b.bait.ports.iter().any(|p| find_overlap(*p, port.value)));
            if let Some(first) = first {
                let shared = expand_ports(&first.bait.ports)
                    .intersection(&expand_ports([&port.value]))
                    .count();
                report.note(
                    &port.span,
                    format!(
                        "{shared} of these ports belong to bait `{}` above: the ban of the first \
                         counts",
                        first.bait.name
                    ),
                );
            }
        }
    }
}

fn find_overlap(a: ProtoPorts, b: ProtoPorts) -> bool {
    a.protocol == b.protocol && a.range.overlaps(b.range)
}

/// The first ports of services, how many more there are, and what else there is: `tcp/22, tcp/80
/// and the knock ports`.
fn list_first(ports: &[String], others: &[(&str, bool)]) -> String {
    const MAX_LISTED: usize = 6;
    let mut parts: Vec<String> = ports.iter().take(MAX_LISTED).cloned().collect();
    if ports.len() > MAX_LISTED {
        parts.push(format!("{} more", ports.len() - MAX_LISTED));
    }
    parts.extend(others.iter().filter(|(_, there)| *there).map(|(name, _)| (*name).to_owned()));
    match parts.as_slice() {
        [before @ .., last] if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => parts.concat(),
    }
}
