//! Other people's chains that would drop what our table lets in.

use spa_keys::Severity;

use super::{HostFinding, HostSubject};
use crate::config::{Config, Stages};
use crate::domain::ports::PortRange;
use crate::firewall::FirewallError;
use crate::firewall::nftables::Nftables;

/// Finds foreign rules that would drop what a grant opens; needs `CAP_NET_ADMIN`.
pub(super) fn check_obstacles(config: &Config) -> Vec<HostFinding> {
    let say = |weight, text: String| HostFinding::new(weight, HostSubject::Firewall, text);
    let knock: Vec<PortRange> = match &config.sequence.stages {
        Stages::Fixed(ports) => ports.iter().copied().map(PortRange::one).collect(),
        Stages::Hop { range, .. } => vec![*range],
    };
    let asked =
        Nftables::new().and_then(|mut firewall| firewall.obstacles_to(&config.rules(&knock)));
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
                say(Severity::Warning, format!("{}: {}", obstacle.chain, obstacle.text))
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
