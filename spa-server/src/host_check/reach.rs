//! Reach of the ports of each service, as the model of this host has it.

use spa_keys::Severity;

use super::{HostFinding, HostSubject};
use crate::config::activated::Opened;
use crate::config::{Config, Stages};
use crate::domain::ports::PortRange;
use crate::firewall::nftables::Nftables;
use crate::firewall::reach::{Reach, ReachAnswer, ReachQuery};
use crate::firewall::{Firewall as _, FirewallError, Hide, Mode};

/// Finds what a scan would see: hidden ports beside this host's closed ones.
pub(super) fn check_hide(config: &Config) -> Option<HostFinding> {
    if config.firewall.mode == Mode::Standalone {
        return None;
    }
    let say = |weight, text: String| HostFinding::new(weight, HostSubject::Firewall, text);
    let rules = config.rules(&knock_ports(config));
    let closed = Nftables::new().and_then(|mut nft| nft.look_of_closed_ports(&rules)).ok()??;
    let (closed_ports, hidden_ports) = match closed {
        Hide::Drop => ("keeps its closed ports silent", "stay silent"),
        Hide::Closed => ("refuses its closed ports", "look closed"),
    };
    match config.firewall.hide {
        None => Some(say(
            Severity::Ok,
            format!("this host {closed_ports}, so hidden ports {hidden_ports} (hide = \"auto\")"),
        )),
        Some(hide) if hide != closed => Some(say(
            Severity::Warning,
            format!(
                "this host {closed_ports}, and hidden ports do not look like them: a scan finds \
                 them; write hide = \"auto\""
            ),
        )),
        Some(_) => None,
    }
}

fn knock_ports(config: &Config) -> Vec<PortRange> {
    let mut ports = match &config.sequence.stages {
        Stages::Fixed(ports) => ports.iter().copied().map(PortRange::one).collect(),
        Stages::Hop { range, .. } => vec![*range],
    };
    ports.extend(config.sequence.previous.iter().copied().map(PortRange::one));
    ports
}

/// Asks the model of this host about every service; needs `CAP_NET_ADMIN`.
pub(super) fn ask_model(config: &Config, opened: &Opened) -> Result<Vec<Reach>, FirewallError> {
    let services = opened.questions(config);
    let rules = opened.rules(config, &knock_ports(config));
    let query = ReachQuery { services, source: None, listeners: true };
    Nftables::new()?.answer_reach(&rules, &query)
}

/// Finds services that are not hidden, or that a grant does not open.
pub(super) fn check_reach(
    config: &Config,
    asked: &Result<Vec<Reach>, FirewallError>,
) -> Vec<HostFinding> {
    let say = |weight, text: String| HostFinding::new(weight, HostSubject::Service, text);
    let rows = match asked {
        Ok(rows) => rows,
        Err(FirewallError::Permission(_)) => {
            let text = "what reaches the services here: to read the rules of other firewalls \
                takes CAP_NET_ADMIN; run this as root";
            return vec![say(Severity::Unknown, text.to_owned())];
        }
        Err(error) => {
            return vec![say(
                Severity::Unknown,
                format!("what reaches the services here: {error}"),
            )];
        }
    };
    let mut found: Vec<HostFinding> = Vec::new();
    for service in &config.services {
        let rows: Vec<&Reach> = rows.iter().filter(|row| row.service == *service.name).collect();
        for about_hiding in [true, false] {
            let mut said: Vec<(Severity, String, Vec<String>)> = Vec::new();
            for row in &rows {
                let (weight, text) = describe(row, about_hiding);
                let family = row.family.to_string();
                match said.iter_mut().find(|(_, known, _)| *known == text) {
                    Some((_, _, families)) => families.push(family),
                    None => said.push((weight, text, vec![family])),
                }
            }
            found.extend(said.into_iter().map(|(weight, text, families)| {
                let families = families.join(" and ");
                say(weight, format!("service `{}` over {families}: {text}", service.name))
            }));
        }
    }
    let rules = config.rules(&knock_ports(config));
    let ephemeral = Nftables::new().ok().and_then(|nft| nft.find_ephemeral_ports(&rules));
    found.extend(ephemeral.map(|obstacle| {
        let text = format!("{}: {}", obstacle.chain, obstacle.text);
        HostFinding::new(Severity::Warning, HostSubject::Firewall, text)
    }));
    found
}

/// Weight and words of an answer.
fn describe(row: &Reach, about_hiding: bool) -> (Severity, String) {
    let verdict = if about_hiding { &row.hidden } else { &row.reachable };
    let why = &verdict.why;
    let remedy = || match &row.remedy {
        Some(remedy) => format!("; {remedy}"),
        None => String::new(),
    };
    match (about_hiding, verdict.answer) {
        (true, ReachAnswer::Yes) => (Severity::Ok, "hidden from strangers".to_owned()),
        (false, ReachAnswer::Yes) => (Severity::Ok, "a grant opens it".to_owned()),
        (true, ReachAnswer::No) if row.not_yet => (Severity::Note, format!("not hidden: {why}")),
        (true, ReachAnswer::No) => (Severity::Error, format!("NOT hidden: {why}{}", remedy())),
        (false, ReachAnswer::No) if row.unheard => (Severity::Note, why.clone()),
        (false, ReachAnswer::No) => {
            (Severity::Warning, format!("a grant does not open it: {why}{}", remedy()))
        }
        (true, ReachAnswer::Undecided) => {
            (Severity::Warning, format!("whether it is hidden cannot be said: {why}"))
        }
        (false, ReachAnswer::Undecided) => {
            let weight = if verdict.by_source { Severity::Note } else { Severity::Warning };
            (weight, format!("whether a grant opens it cannot be said: {why}"))
        }
    }
}
