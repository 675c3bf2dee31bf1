//! Checks of `hook`, `to` and `established` against the ports, the other services and the host.

use super::findings::Report;
use super::forwarding::ForwardingRead;
use super::host::FirewallRead;
use super::model::{Backend, Service};
use super::parsers::expand_ports;
use super::services::ServiceRead;
use crate::domain::ports::PortRange;
use crate::firewall::{Established, PacketHook, Target};

/// Reports what the keys do not fit.
pub(super) fn check_forwarding(
    report: &mut Report<'_>,
    read: &FirewallRead,
    services: &[ServiceRead],
    local: Option<PortRange>,
) {
    if read.firewall.backend == Backend::Observe {
        return;
    }
    for (at, ServiceRead { service, forwarding, ports_span, .. }) in services.iter().enumerate() {
        if forwarding.packet_hook == PacketHook::Forward && service.ports.is_empty() {
            report.error(
                ports_span,
                "hook = \"forward\" needs ports by name: \"all\" opens this host only",
            );
        }
        if forwarding.packet_hook == PacketHook::Forward && read.firewall.interfaces.is_empty() {
            report.error(
                &forwarding.hook_span,
                "hook = \"forward\" without [firewall] interfaces would hide these ports of the \
                whole world from the inside too: write interfaces = [\"wan0\"] with the one that \
                strangers come from",
            );
        }
        if let Some(to) = forwarding.to {
            check_target(report, to, forwarding, service);
            let taken = |other: &&ServiceRead| {
                other.forwarding.packet_hook == PacketHook::Input || other.forwarding.to.is_some()
            };
            let others =
                services.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, other)| other);
            let mine = expand_ports(&service.ports);
            let twice = others
                .filter(taken)
                .find(|o| expand_ports(&o.service.ports).intersection(&mine).next().is_some());
            if let Some(other) = twice {
                report.error(
                    ports_span,
                    format!(
                        "service `{}` has one of these ports of this host too, and it can lead to \
                         one place only: choose another port",
                        other.service.name
                    ),
                );
            }
        }
        if forwarding.established == Established::Drop {
            check_dropped_flows(report, forwarding, service, local);
        }
    }
}

fn check_target(
    report: &mut Report<'_>,
    to: Target,
    forwarding: &ForwardingRead,
    service: &Service,
) {
    let single = expand_ports(&service.ports).len();
    if let Some(port) = to.port.filter(|_| single > 1) {
        report.error(
            &forwarding.to_span,
            format!(
                "all {single} ports would lead to port {port}: leave the port out, or make one \
                service for each"
            ),
        );
    }
    let (its, other) = if to.address.is_ipv4() { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
    report.note(
        &forwarding.to_span,
        format!(
            "`to` is an {its} address: a client that comes over {other} is granted and reaches \
            nothing; publish the host's {its} address only, or add a service for {other}"
        ),
    );
}

fn check_dropped_flows(
    report: &mut Report<'_>,
    forwarding: &ForwardingRead,
    service: &Service,
    local: Option<PortRange>,
) {
    if service.ports.is_empty() {
        report.note(
            &forwarding.established_span,
            "established = \"drop\" counts for the ports that services name; flows to other ports \
             live on",
        );
    }
    let own = local
        .and_then(|local| Some((local, service.ports.iter().find(|p| p.range.overlaps(local))?)));
    if let Some((local, port)) = own {
        report.warning(
            &forwarding.established_span,
            format!(
                "{port} lies in the range {local} that the kernel takes local ports from: this \
                host's own connections from there would need a grant too; choose another port or \
                reserve it with net.ipv4.ip_local_reserved_ports"
            ),
        );
    }
}
