//! The contract: operations that every kind of enforcer has.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::domain::ports::ProtoPorts;

/// One opening at an enforcer: whoever comes from the network may reach the ports. Several grants
/// may need the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EnforcedEntry {
    /// Name of the service.
    pub(crate) service: Arc<str>,
    /// Addresses that may pass.
    pub(crate) network: IpNet,
    /// Ports; empty: every port.
    pub(crate) ports: Vec<ProtoPorts>,
}

/// One change. Each may be asked for again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EntryChange {
    /// Opens an entry for this long from now on, whether or not it is there.
    Open(EnforcedEntry, Duration),
    /// Closes an entry, if it is there.
    Close {
        /// Which.
        entry: EnforcedEntry,
        /// The flows that it has let in end as well.
        flows: bool,
    },
}

/// Reason why an enforcer did not do something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnforcerError {
    /// It refuses, and can be asked for something else.
    #[error("{0}")]
    Refused(String),
    /// The way to it is lost; what it has done is not known.
    #[error("{0}")]
    Lost(String),
}

/// An enforcer. None of these takes longer than the time limit of the configuration.
pub(crate) trait EnforcerBackend {
    /// Makes the way to it, anew if there was one.
    fn connect(&mut self) -> Result<(), EnforcerError>;

    /// Makes changes, in their order.
    fn apply(&mut self, batch: &[EntryChange]) -> Result<(), EnforcerError>;

    /// Entries of ours that are open there.
    fn list(&mut self) -> Result<Vec<EnforcedEntry>, EnforcerError>;

    /// Finds out whether it is still there.
    fn check_alive(&mut self) -> Result<(), EnforcerError>;
}
