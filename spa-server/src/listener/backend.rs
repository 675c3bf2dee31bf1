//! The firewall behind the broker, and the bait hits that this process reads itself.

use tokio::io::unix::AsyncFd;

use super::readable::{Readable, watch};
use super::retry::patiently;
use crate::config::{Backend as Kind, Config};
use crate::firewall::baitlog::BaitLog;
use crate::firewall::{Firewall, Rules};
use crate::ipc::channel::Channel;
use crate::ipc::client::Remote;
use spa_keys::Failure;

/// The way to the firewall and its news.
pub(super) struct Backend {
    pub(super) firewall: Box<dyn Firewall>,
    /// The same, for what only a broker understands.
    pub(super) remote: Remote,
    /// Hits of bait ports.
    pub(super) baits: Option<AsyncFd<Readable<BaitLog>>>,
}

impl Backend {
    /// Listens to the baits and has the rules installed.
    pub(super) fn open(config: &Config, rules: &Rules, requests: Channel) -> Result<Self, Failure> {
        let (name, baits) = match config.firewall.backend {
            Kind::Observe => ("observe", None),
            Kind::Nftables => {
                let denied =
                    |error: &std::io::Error| error.kind() == std::io::ErrorKind::PermissionDenied;
                let baits = patiently(|| BaitLog::open(rules.bait_nflog), denied)
                    .map_err(|error| taken(rules.bait_nflog, error))?;
                ("nftables", Some(watch(baits)?))
            }
        };
        let remote = Remote::new(requests, name)?;
        let mut firewall: Box<dyn Firewall> = Box::new(remote.clone());
        firewall.install(rules)?;
        Ok(Self { firewall, remote, baits })
    }
}

/// The kernel gives a log group to one process of a network namespace, and refuses it to others as
/// it refuses those without the capability. That we have it, the broker's reading of the table has
/// shown.
fn taken(group: u16, error: std::io::Error) -> Failure {
    if error.kind() != std::io::ErrorKind::PermissionDenied {
        return error.into();
    }
    Failure::failed(format!(
        "another program has NFLOG group {group} of this network, most likely another spa-server: \
         two of them cannot share the table inet spa, stop one"
    ))
}
