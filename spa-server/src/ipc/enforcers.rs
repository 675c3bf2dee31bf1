//! Messages between the broker and the process of one enforcer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bincode::{Decode, Encode};
use ipnet::IpNet;

use crate::domain::grant::GrantId;
use crate::domain::ports::ProtoPorts;
use crate::log::{Format, Level};

/// The hidden command that watches over an enforcer's process, and starts it anew when it ends.
pub const WATCH_COMMAND: &str = "watch-enforcer";
/// The hidden command that an enforcer's process runs.
pub const ENFORCER_COMMAND: &str = "run-enforcer";

/// First message to an enforcer's process.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EnforcerSetup {
    /// Name of the enforcer in the configuration.
    pub name: String,
    /// Access to it.
    pub access: EnforcerAccess,
    /// Time that it has for one answer.
    pub timeout: Duration,
    /// File that remembers what is open at one that does not expire by itself.
    pub journal: PathBuf,
    /// Form of a log line.
    pub format: Format,
    /// Least important level that is written.
    pub level: Level,
}

/// Access to an enforcer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum EnforcerAccess {
    /// A program.
    Exec {
        /// Absolute path and arguments.
        command: Vec<String>,
        /// Set when entries end by themselves.
        expires: bool,
        /// It ends flows.
        ends_flows: bool,
    },
}

/// A grant as an enforcer needs it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EnforcedGrant {
    /// Number of the grant.
    pub id: GrantId,
    /// Name of the service.
    pub service: Arc<str>,
    /// Addresses that may pass.
    #[bincode(with_serde)]
    pub network: IpNet,
    /// Ports; empty: every port.
    pub ports: Vec<ProtoPorts>,
    /// Time left.
    pub left: Duration,
    /// Set when flows end with it.
    pub flows: bool,
}

/// Task of an enforcer's process.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum EnforcerTask {
    /// Kind and abilities; the answer to [`EnforcerReport::Started`].
    Begin(EnforcerSetup),
    /// Exactly these grants are to be open, in as many pages as needed; the first one follows
    /// [`EnforcerTask::Begin`].
    Settle {
        /// Some of them.
        grants: Vec<EnforcedGrant>,
        /// Another page follows.
        more: bool,
    },
    /// Open or renew a grant.
    Open {
        /// The broker's number for the question.
        ticket: u64,
        /// The grant.
        grant: EnforcedGrant,
    },
    /// Close a grant.
    Close {
        /// The grant.
        id: GrantId,
        /// Set when flows end, whatever the service says of them.
        flows: bool,
    },
}

/// Report of an enforcer's process.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum EnforcerReport {
    /// It runs and knows nothing.
    Started,
    /// Exactly what shall be open is; or not, for this reason. Told at every change.
    State(Result<(), String>),
    /// A grant is open, or not, for this reason.
    Opened {
        /// Number of the question.
        ticket: u64,
        /// Outcome.
        outcome: Result<(), String>,
    },
}
