//! Other people's chains that would drop what our table lets in.

use spa_keys::Severity;

use super::{HostFinding, HostSubject};
use crate::config::{Config, Stages};
use crate::domain::ports::PortRange;
use crate::firewall::nftables::Nftables;
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

/// Finds foreign rules that would drop what a grant opens; needs `CAP_NET_ADMIN`.
pub(super) fn check_obstacles(config: &Config) -> Vec<HostFinding> {
    let say = |weight, text: String| HostFinding::new(weight, HostSubject::Firewall, text);
    let rules = config.rules(&knock_ports(config));
    let asked = Nftables::new().and_then(|mut firewall| firewall.obstacles_to(&rules));
    match asked {
        Ok(obstacles) if obstacles.is_empty() => {
            vec![say(
                Severity::Ok,
                "no other firewall drops what a grant opens, so far as its \
                rules can be read"
                    .to_owned(),
            )]
        }
        Ok(obstacles) => obstacles
            .into_iter()
            .map(|obstacle| {
                let weight = if obstacle.bypasses { Severity::Error } else { Severity::Warning };
                say(weight, format!("{}: {}", obstacle.chain, obstacle.text))
            })
            .collect(),
        Err(FirewallError::Permission(_)) => vec![say(
            Severity::Unknown,
            "other firewalls on this host, which might drop what a grant opens: to read their \
             rules takes CAP_NET_ADMIN; run this as root"
                .to_owned(),
        )],
        Err(error) => {
            vec![say(Severity::Unknown, format!("other firewalls on this host: {error}"))]
        }
    }
}
