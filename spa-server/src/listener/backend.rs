//! The firewall behind the broker, and the bait hits that this process reads itself.

use tokio::io::unix::AsyncFd;

use super::readable::{Readable, watch_readable};
use super::retry::retry_while_taken;
use crate::config::{Backend as Kind, Config};
use crate::firewall::baitlog::BaitLog;
use crate::firewall::{Firewall, Rules};
use crate::ipc::channel::Channel;
use crate::ipc::client::BrokerClient;
use spa_keys::Failure;

/// The way to the firewall and its news.
pub(super) struct FirewallAccess {
    /// The firewall, by requests to the broker.
    pub(super) firewall: Box<dyn Firewall>,
    /// The same, for what only a broker understands.
    pub(super) remote: BrokerClient,
    /// Hits of bait ports.
    pub(super) baits: Option<AsyncFd<Readable<BaitLog>>>,
}

impl FirewallAccess {
    /// Listens to the baits and has the rules installed.
    pub(super) fn open_firewall(
        config: &Config,
        rules: &Rules,
        requests: Channel,
    ) -> Result<Self, Failure> {
        let (name, baits) = match config.firewall.backend {
            Kind::Observe => ("observe", None),
            Kind::Nftables => {
                let denied =
                    |error: &std::io::Error| error.kind() == std::io::ErrorKind::PermissionDenied;
                let baits = retry_while_taken(|| BaitLog::open(rules.bait_nflog), denied)
                    .map_err(|error| explain_taken_group(rules.bait_nflog, error))?;
                ("nftables", Some(watch_readable(baits)?))
            }
        };
        let remote = BrokerClient::new(requests, name)?;
        let mut firewall: Box<dyn Firewall> = Box::new(remote.clone());
        firewall.install(rules)?;
        Ok(Self { firewall, remote, baits })
    }
}

/// The kernel gives a log group to one process of a network namespace, and refuses it to others as
/// it refuses those without the capability. That we have it, the broker's reading of the table has
/// shown.
fn explain_taken_group(group: u16, error: std::io::Error) -> Failure {
    if error.kind() != std::io::ErrorKind::PermissionDenied {
        return error.into();
    }
    Failure::failed(format!(
        "another program has NFLOG group {group} of this network, most likely another spa-server: \
         two of them cannot share the table inet spa, stop one"
    ))
}
