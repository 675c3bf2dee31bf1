//! Ports of the configuration against the ports in real use.

use super::owners::Owners;
use crate::sockets::{Socket, SocketState};
use spa_keys::Severity;

use super::{HostFinding, HostSubject};
use crate::config::{CaptureMode, Config, Stages};
use crate::domain::ports::{PortRange, ProtoPorts, Protocol};
use crate::firewall::{Bait, PacketHook};

/// Findings about one kind of port at most: a wide range may hold thousands.
const MAX_FINDINGS: usize = 10;
/// Ports that the kernel gives to this host's own clients.
const LOCAL_PORT_RANGE_FILE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Finds sockets that baits or knock ports collide with, and services that nobody serves.
pub(super) fn check_ports(
    config: &Config,
    sockets: &[Socket],
    owners: &Owners,
) -> Vec<HostFinding> {
    let reachable: Vec<&Socket> = sockets.iter().filter(|s| !s.local.ip().is_loopback()).collect();
    let mut found = limit_findings(HostSubject::Bait, check_baits(config, &reachable, owners));
    // A bound socket of ours needs the port on every address.
    let all: Vec<&Socket> = sockets.iter().collect();
    let near = if config.capture.mode == CaptureMode::Udp { &all } else { &reachable };
    found.extend(limit_findings(HostSubject::KnockPort, knock_ports(config, near, owners)));
    let own = own_doors(config, &reachable, owners);
    found.extend(limit_findings(HostSubject::Service, own));
    found
}

fn limit_findings(about: HostSubject, mut found: Vec<HostFinding>) -> Vec<HostFinding> {
    // IPv4 and IPv6 sockets of one program say the same.
    found.dedup();
    let more = found.len().saturating_sub(MAX_FINDINGS);
    found.truncate(MAX_FINDINGS);
    if more > 0 {
        found.push(HostFinding::new(
            Severity::Warning,
            about,
            format!("{more} more findings of this kind"),
        ));
    }
    found
}

fn covers_socket(ports: &[ProtoPorts], socket: &Socket) -> bool {
    ports.iter().any(|p| p.protocol == socket.protocol && p.range.contains(socket.local.port()))
}

fn check_baits(config: &Config, sockets: &[&Socket], owners: &Owners) -> Vec<HostFinding> {
    // A bait may lie over a service on purpose: those with a grant are excused.
    let meant = |bait: &Bait, socket: &Socket| {
        bait.unless_secured
            && config.services.iter().any(|service| covers_socket(&service.ports, socket))
    };
    let in_use = |bait: &Bait, socket: &Socket| {
        covers_socket(&bait.ports, socket)
            && !meant(bait, socket)
            && (socket.state == SocketState::Listening || is_served(socket))
    };
    let mut found = Vec::new();
    for bait in &config.baits {
        let mut used: Vec<&&Socket> =
            sockets.iter().filter(|socket| in_use(bait, socket)).collect();
        // A listener says it all about its connections.
        used.sort_by_key(|s| (s.protocol, s.local.port(), s.state != SocketState::Listening));
        used.dedup_by_key(|s| (s.protocol, s.local.port()));
        found.extend(used.into_iter().map(|socket| {
            let (name, port) = (&bait.name, format!("{}/{}", socket.protocol, socket.local.port()));
            let who = owners.describe_owner(socket.inode);
            let use_of_it = match socket.state {
                SocketState::Listening => format!("where {who} listens"),
                SocketState::Connected => {
                    format!("over which {who} is connected to {}", socket.remote.ip())
                }
            };
            HostFinding::new(
                Severity::Warning,
                HostSubject::Bait,
                format!(
                    "bait `{name}` covers {port}, {use_of_it}: whoever connects there is \
                    banned; take the port out of the bait"
                ),
            )
        }));
    }
    found
}

/// Returns true when a connected socket has the port of a server: this host's own clients get
/// theirs from the kernel's range.
fn is_served(socket: &Socket) -> bool {
    let given = std::fs::read_to_string(LOCAL_PORT_RANGE_FILE).ok().and_then(|text| {
        let mut ends = text.split_ascii_whitespace().map(|end| end.parse().ok());
        Some(PortRange { first: ends.next()??, last: ends.next()?? })
    });
    socket.protocol == Protocol::Tcp
        && given.is_some_and(|given| !given.contains(socket.local.port()))
}

fn knock_ports(config: &Config, sockets: &[&Socket], owners: &Owners) -> Vec<HostFinding> {
    let stages = &config.sequence.stages;
    let taken = |socket: &&&Socket| {
        socket.protocol == Protocol::Udp
            && socket.state == SocketState::Listening
            && config.sequence.may_use(socket.local.port())
            // A running server with this capture holds them itself.
            && !(config.capture.mode == CaptureMode::Udp
                && owners.name_of(socket.inode).is_some_and(|name| name.starts_with("spa-server")))
    };
    let mut taken: Vec<&&Socket> = sockets.iter().filter(taken).collect();
    taken.sort_by_key(|s| s.local.port());
    taken.dedup_by_key(|s| s.local.port());
    let text = |socket: &Socket| {
        let (port, who) = (socket.local.port(), owners.describe_owner(socket.inode));
        if config.capture.mode == CaptureMode::Udp {
            return format!(
                "knock port udp/{port} is in use: {who} has it, and capture \"udp\" hears no \
                 knock there; end that program, or use capture \"ring\""
            );
        }
        match stages {
            Stages::Fixed(_) => format!(
                "knock port udp/{port} is in use: {who} listens there, and would get no packet any \
                 more; choose another stage, or move that program"
            ),
            Stages::Hop { range, .. } => format!(
                "the hop range {range} covers udp/{port}, where {who} listens: it gets no packets \
                 while the stages are there; add {port} to hop-exclude"
            ),
        }
    };
    taken
        .into_iter()
        .map(|socket| HostFinding::new(Severity::Warning, HostSubject::KnockPort, text(socket)))
        .collect()
}

/// Ports that are hidden on the way to hosts behind this one, and at which a program of this host
/// listens itself: a container engine's proxy for IPv6, say. What it takes was never forwarded.
fn own_doors(config: &Config, sockets: &[&Socket], owners: &Owners) -> Vec<HostFinding> {
    let here = config.rules(&[]).protected;
    let behind = config
        .services
        .iter()
        .filter(|service| service.packet_hook == PacketHook::Forward && service.to.is_none());
    let mut found = Vec::new();
    for service in behind {
        let mut open: Vec<&&Socket> = sockets
            .iter()
            .filter(|s| s.state == SocketState::Listening && covers_socket(&service.ports, s))
            .filter(|s| !covers_socket(&here, s))
            .collect();
        open.sort_by_key(|s| (s.protocol, s.local.port()));
        open.dedup_by_key(|s| (s.protocol, s.local.port()));
        found.extend(open.into_iter().map(|socket| {
            let (name, protocol, port) = (&service.name, socket.protocol, socket.local.port());
            let who = owners.describe_owner(socket.inode);
            HostFinding::new(
                Severity::Warning,
                HostSubject::Service,
                format!(
                    "service `{name}` hides {protocol}/{port} of hosts behind this one, but {who} \
                     listens there on this host itself, and is not hidden: add a service for \
                     {protocol}/{port} without hook = \"forward\", or stop that program"
                ),
            )
        }));
    }
    found
}
