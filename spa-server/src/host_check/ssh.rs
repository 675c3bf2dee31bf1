//! Fate of ssh sessions: of the session that asks, and of those that begin later.

use std::net::IpAddr;
use std::time::Duration;

use super::owners::Owners;
use super::session::Asks;
use super::ssh_ports::find_ssh_ports;
use crate::sockets::Socket;
use spa_keys::Severity;

use super::{HostFinding, HostSubject};
use crate::config::{Backend, Client, Config, Service};
use crate::domain::grant::Scope;
use crate::domain::ports::{ProtoPorts, Protocol};
use crate::firewall::nftables::Nftables;
use crate::firewall::{Firewall as _, FirewallError, LiveGrant, Mode, Rules};
use spa_keys::duration;

/// All that decides it.
pub(super) struct Host<'a> {
    /// Configuration that is checked.
    pub(super) config: &'a Config,
    /// Clients of that configuration.
    pub(super) clients: &'a [Client],
    /// Unix milliseconds.
    pub(super) now_ms: u64,
    /// Sockets of this network namespace.
    pub(super) sockets: &'a [Socket],
    /// Processes that own the sockets.
    pub(super) owners: &'a Owners,
    /// Packets of strangers come in where the table hides.
    pub(super) hides: bool,
    /// Rules of the table if it were installed at this moment.
    pub(super) hidden: Rules,
    /// Rules once a client has opened every service.
    pub(super) later: Rules,
}

/// Finds whether this session survives the table and who can log in afterwards.
pub(super) fn check_ssh(host: &Host<'_>, asks: &Asks) -> Vec<HostFinding> {
    let mut found = vec![this_session(host, asks)];
    let peer = match asks {
        Asks::Session { peer, .. } => Some(peer.ip()),
        _ => None,
    };
    let ports = find_ssh_ports(host.sockets, host.owners, asks);
    if ports.is_empty() {
        found.push(HostFinding::new(
            Severity::Note,
            HostSubject::NewSessions,
            "no ssh server is seen on this host: make sure that there is another way in",
        ));
    }
    found.extend(ports.into_iter().map(|port| new_sessions(host, port, peer)));
    found
}

fn this_session(host: &Host<'_>, asks: &Asks) -> HostFinding {
    let say = |weight, text: String| HostFinding::new(weight, HostSubject::ThisSession, text);
    match asks {
        Asks::Session { peer, local } if peer.ip().is_loopback() => say(
            Severity::Ok,
            format!(
                "this ssh session comes over loopback (to port {}), which stays open",
                local.port()
            ),
        ),
        Asks::Session { peer, .. } if host.config.firewall.backend == Backend::Observe => say(
            Severity::Ok,
            format!(
                "this ssh session from {} stays: backend \"observe\" changes no firewall",
                peer.ip()
            ),
        ),
        Asks::Session { peer, local } if covers_port(&host.hidden.bound, local.port()) => {
            let (weight, text) = judge_session(host, peer.ip(), local.port());
            say(weight, text)
        }
        Asks::Session { peer, local } => {
            let later = covers_port(&host.later.bound, local.port());
            let stays = format!(
                "this ssh session from {} to port {} stays when the table is installed: \
                 established connections are kept",
                peer.ip(),
                local.port()
            );
            if later {
                say(
                    Severity::Note,
                    format!(
                        "{stays}, until a client has opened the port's service for the first time; \
                         from then on established = \"drop\" cuts whatever has no grant"
                    ),
                )
            } else {
                say(Severity::Ok, stays)
            }
        }
        Asks::Gone(peer) => say(
            Severity::Unknown,
            format!(
                "what becomes of this session: it began under an ssh connection from {} that has \
                ended (screen, tmux?); run this in a fresh login",
                peer.ip()
            ),
        ),
        Asks::None => say(
            Severity::Note,
            "this is no ssh session: none of its parents has SSH_CONNECTION".to_owned(),
        ),
        Asks::Hidden(process) => say(
            Severity::Unknown,
            format!(
                "what becomes of this session: the environment of process {process} is closed to \
                 this user; run this as root"
            ),
        ),
    }
}

fn covers_port(ports: &[ProtoPorts], port: u16) -> bool {
    ports.iter().any(|p| p.protocol == Protocol::Tcp && p.range.contains(port))
}

/// Judges a session to a port whose flows need a live grant for each packet.
fn judge_session(host: &Host<'_>, peer: IpAddr, port: u16) -> (Severity, String) {
    let session = format!("this ssh session from {peer} to port {port}");
    let grants = match Nftables::new().and_then(|mut firewall| firewall.grants()) {
        Ok(grants) => grants,
        Err(FirewallError::Permission(_)) => {
            return (
                Severity::Unknown,
                format!(
                    "{session} needs a live grant (established = \"drop\"), and to read the grants \
                     takes CAP_NET_ADMIN; run this as root"
                ),
            );
        }
        // No table of ours: then there is no grant either.
        Err(_) => Vec::new(),
    };
    let lets_in = |live: &&LiveGrant| {
        live.grant.network().contains(&peer)
            && match &live.grant.scope {
                Scope::All => true,
                Scope::Ports(ports) => covers_port(ports, port),
                Scope::Inside(_) => false,
            }
    };
    if let Some(LiveGrant { grant, left, .. }) =
        grants.iter().filter(lets_in).max_by_key(|live| live.left)
    {
        let left = duration::format(Duration::from_secs(left.as_secs()));
        let text = format!(
            "{session} stays as long as grant {} lasts, {left} from now, unless it is renewed: \
             established = \"drop\" needs a live grant for each packet",
            grant.id
        );
        return (Severity::Ok, text);
    }
    let services = host.services(port);
    let able = |client: &&Client| {
        services.iter().any(|service| client.services.contains(&service.id))
            && find_refusal(client, Some(peer), host.now_ms).is_none()
    };
    let cut = format!(
        "{session} would be cut when the table is installed: established = \"drop\" needs a live \
         grant for each packet, and none covers it"
    );
    match (host.clients.iter().find(able), services.first()) {
        (Some(client), Some(service)) => {
            let (service, client) = (&service.name, &client.name);
            (
                Severity::Warning,
                format!(
                    "{cut}. {client} can reconnect from {peer} with a knock: spa-client open \
                    {service}@HOST; or write established = \"keep\" for the first time"
                ),
            )
        }
        _ => (
            Severity::Error,
            format!(
                "{cut}, nor may any client open it from {peer} now; enrol one first, or write \
                 established = \"keep\" for the first time"
            ),
        ),
    }
}

impl Host<'_> {
    /// The services that open a TCP port.
    fn services(&self, port: u16) -> Vec<&Service> {
        let opens = |service: &&Service| match &service.scope {
            Scope::All => true,
            // What lies behind this host is not its own ssh.
            Scope::Inside(_) => false,
            Scope::Ports(ports) => {
                ports.iter().any(|p| p.protocol == Protocol::Tcp && p.range.contains(port))
            }
        };
        self.config.services.iter().filter(opens).collect()
    }

    /// Returns true when the table drops first packets to a TCP port.
    fn is_hidden(&self, port: u16) -> bool {
        match self.config.firewall {
            _ if self.config.firewall.backend == Backend::Observe || !self.hides => false,
            _ if self.config.firewall.mode == Mode::Standalone => true,
            _ => covers_port(&self.hidden.protected, port),
        }
    }

    /// Returns true when it will, from the first grant on.
    fn is_hidden_later(&self, port: u16) -> bool {
        let hides = self.hides && self.config.firewall.backend != Backend::Observe;
        hides && covers_port(&self.later.protected, port)
    }
}

/// Why a client's knock from an address would not open now; `None` when it would.
fn find_refusal(client: &Client, peer: Option<IpAddr>, now_ms: u64) -> Option<&'static str> {
    if client.expires.is_some_and(|end| end <= now_ms) {
        return Some("its access has expired");
    }
    if client.hours.as_ref().is_some_and(|hours| !hours.contains(now_ms)) {
        return Some("not at this hour");
    }
    let elsewhere = |peer: &IpAddr| {
        !client.from.is_empty() && !client.from.iter().any(|net| net.contains(peer))
    };
    peer.filter(elsewhere).map(|_| "not from this address")
}

fn new_sessions(host: &Host<'_>, port: u16, peer: Option<IpAddr>) -> HostFinding {
    let say = |weight, text: String| HostFinding::new(weight, HostSubject::NewSessions, text);
    if !host.is_hidden(port) && host.is_hidden_later(port) {
        return not_yet(host, port, peer);
    }
    if !host.is_hidden(port) {
        return say(
            Severity::Ok,
            format!(
                "new ssh sessions to tcp/{port}: the port is not hidden, everybody reaches it as \
                 before"
            ),
        );
    }
    let services = host.services(port);
    let sent_on = host
        .config
        .services
        .iter()
        .find(|service| service.to.is_some() && covers_port(&service.ports, port));
    if let (true, Some(service)) = (services.is_empty(), sent_on) {
        return say(
            Severity::Error,
            format!(
                "new ssh sessions to tcp/{port}: service `{}` sends the port on to another host, \
                so nobody could log in here any longer; give it another port, or sshd",
                service.name
            ),
        );
    }
    if services.is_empty() {
        return say(
            Severity::Error,
            format!(
                "new ssh sessions to tcp/{port}: mode \"standalone\" hides the port and no \
                service opens it, so nobody could log in any longer; write a [[service]] with \
                ports = [\"tcp/{port}\"] and enrol a client for it"
            ),
        );
    }
    let names: Vec<String> = services.iter().map(|service| format!("`{}`", service.name)).collect();
    let mut names = names.join(", ");
    let interfaces = &host.config.firewall.interfaces;
    if !interfaces.is_empty() {
        names.push_str(&format!(" from whoever comes in by {}", interfaces.join(", ")));
    }
    let may =
        |client: &&Client| services.iter().any(|service| client.services.contains(&service.id));
    let enrolled: Vec<&Client> = host.clients.iter().filter(may).collect();
    let from = peer.map_or_else(String::new, |peer| format!(" from {peer}"));
    let able: Vec<&str> = enrolled
        .iter()
        .filter(|client| find_refusal(client, peer, host.now_ms).is_none())
        .map(|client| client.name.as_ref())
        .collect();
    if !able.is_empty() {
        let (weight, unchecked) = match peer {
            Some(_) => (Severity::Ok, ""),
            // Whoever asks from a console cannot be told whether their own address will do.
            None => (Severity::Note, " (from which address was not asked: this is no ssh session)"),
        };
        let service = services.first().map_or("", |service| service.name.as_ref());
        return say(
            weight,
            format!(
                "new ssh sessions to tcp/{port}: hidden by service {names}; {} may open it{from} \
                 now{unchecked}. Before you close this session, try: spa-client open \
                 {service}@HOST",
                list_first(&able)
            ),
        );
    }
    if enrolled.is_empty() {
        return say(
            Severity::Error,
            format!(
                "new ssh sessions to tcp/{port}: hidden by service {names}, which no client may \
                open, so nobody could log in any longer; enrol one first: spa-server client add \
                NAME spa1… --service {}",
                services.first().map_or("", |service| service.name.as_ref())
            ),
        );
    }
    let why: Vec<String> = enrolled
        .iter()
        .filter_map(|client| {
            Some(format!("{} ({})", client.name, find_refusal(client, peer, host.now_ms)?))
        })
        .collect();
    let why: Vec<&str> = why.iter().map(String::as_str).collect();
    say(
        Severity::Warning,
        format!(
            "new ssh sessions to tcp/{port}: hidden by service {names}, and nobody may open \
             it{from} now: {}. Keep this session open until you have logged in by a knock, or \
             widen their stanzas",
            list_first(&why)
        ),
    )
}

/// `protect = "after-first-grant"`, and nobody has opened it yet: whoever hides it has shown that a
/// knock gets in.
fn not_yet(host: &Host<'_>, port: u16, peer: Option<IpAddr>) -> HostFinding {
    let services = host.services(port);
    let names: Vec<String> = services.iter().map(|service| format!("`{}`", service.name)).collect();
    let able: Vec<&str> = host
        .clients
        .iter()
        .filter(|client| services.iter().any(|service| client.services.contains(&service.id)))
        .filter(|client| find_refusal(client, peer, host.now_ms).is_none())
        .map(|client| client.name.as_ref())
        .collect();
    let from = peer.map_or_else(String::new, |peer| format!(" from {peer}"));
    let who = if able.is_empty() {
        format!("nobody may open it{from} now, so it stays as it is")
    } else {
        format!("{} may open it{from} now", list_first(&able))
    };
    HostFinding::new(
        Severity::Note,
        HostSubject::NewSessions,
        format!(
            "new ssh sessions to tcp/{port}: not hidden yet, everybody reaches it as before; \
             hidden from the moment on that a client opens service {} for the first time (protect \
             = \"after-first-grant\"); {who}",
            names.join(", ")
        ),
    )
}

/// The first few, and how many more.
fn list_first(names: &[&str]) -> String {
    const MAX_LISTED: usize = 5;
    let shown = names.iter().take(MAX_LISTED).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
