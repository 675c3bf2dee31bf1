//! The configured firewall, and what it tells by itself.

use tokio::io::unix::AsyncFd;

use super::readable::{Readable, watch};
use crate::config::{Backend as Kind, Config};
use crate::firewall::baitlog::BaitLog;
use crate::firewall::nftables::{Nftables, Watcher};
use crate::firewall::observe::Observe;
use crate::firewall::{Firewall, Rules};
use spa_keys::Failure;

/// A backend with its two channels of news.
pub(super) struct Backend {
    pub(super) firewall: Box<dyn Firewall>,
    /// Foreign changes of our table.
    pub(super) watcher: Option<AsyncFd<Readable<Watcher>>>,
    /// Hits of bait ports.
    pub(super) baits: Option<AsyncFd<Readable<BaitLog>>>,
}

impl Backend {
    /// Opens the backend and installs the rules.
    pub(super) fn open(config: &Config, rules: &Rules) -> Result<Self, Failure> {
        let mut backend = match config.firewall.backend {
            Kind::Observe => Self { firewall: Box::new(Observe::new()), watcher: None, baits: None },
            Kind::Nftables => {
                let nftables = Nftables::new()?;
                // Before the first install: a change in between would go unseen.
                let watcher = Some(watch(nftables.watcher()?)?);
                let baits =
                    BaitLog::open(rules.bait_nflog).map_err(|error| taken(rules.bait_nflog, error))?;
                let baits = Some(watch(baits)?);
                Self { firewall: Box::new(nftables), watcher, baits }
            }
        };
        backend.firewall.install(rules)?;
        Ok(backend)
    }
}

/// The kernel gives a log group to one process of a network namespace, and refuses it to others as it refuses those
/// without the capability. That we have it, the table's first reading has shown.
fn taken(group: u16, error: std::io::Error) -> Failure {
    if error.kind() != std::io::ErrorKind::PermissionDenied {
        return error.into();
    }
    Failure::failed(format!(
        "another program has NFLOG group {group} of this network, most likely another spa-server: two of them cannot share the table inet spa, stop one"
    ))
}
