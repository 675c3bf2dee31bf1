//! Response to `status`, as the server writes it and the command line reads it. Times that end in
//! `-ms` are unix milliseconds, those in `-s` seconds.

use serde::{Deserialize, Serialize};

use super::rows::{GrantRow, ServerKeyChange};
use crate::firewall::reach::Reach;
use crate::firewall::{Hide, Mode, Obstacle};

/// Response to `status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServerStatus {
    /// Release of the server.
    pub server_version: String,
    /// Time since the start.
    pub up_s: u64,
    /// Name of the firewall backend.
    pub backend: String,
    /// Name of the capture.
    pub capture: Option<String>,
    /// Number of enrolled clients.
    pub clients: u64,
    /// Change of the server's key, while it has two.
    pub key_change: Option<ServerKeyChange>,
    /// Time for which knocks are refused yet, rounded up.
    pub fence_left_s: f64,
    /// Seconds by which the clock is behind one that the replay record was written under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_behind_s: Option<u64>,
    /// Other servers on this machine that have the same key.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub second_servers: u64,
    /// Services that are not hidden yet.
    pub not_hidden: Vec<String>,
    /// Protection by the table.
    pub protection: Protection,
    /// Enforcers beside this host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enforcers: Vec<EnforcerRow>,
    /// Sentences about knock ports at which nothing is heard.
    #[serde(default)]
    pub missing_ports: Vec<String>,
    /// Sentences about clients that were enrolled with other knock ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_sequences: Vec<String>,
    /// The server's clock.
    pub clock: ClockState,
    /// The last reload.
    pub reload: Option<ReloadState>,
    /// The trial that runs.
    pub trial: Option<TrialStatus>,
    /// The rollback after which something else runs than is on the disk.
    pub rolled_back: Option<RollbackState>,
    /// Foreign rules that drop what is granted; `None` in a brief answer.
    pub obstacles: Option<Vec<Obstacle>>,
    /// The live grants.
    pub grants: Vec<GrantRow>,
    /// Number of bans.
    pub bans: u64,
    /// The last backup, as the command line sees it; absent when there was none, or when its user
    /// may not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupState>,
    /// Packets since the start.
    pub packets: PacketCounts,
    /// Knocks since the start.
    pub knocks: KnockCounts,
}

/// The last `spa-server backup`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BackupState {
    /// When it was made.
    pub made_ms: u64,
    /// Changes since then: `configuration`, `server key`, `clients`.
    pub changed: Vec<String>,
}

/// An enforcer beside this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EnforcerRow {
    /// Name.
    pub name: String,
    /// Why grants of its services are refused; `None`: they are not.
    pub problem: Option<String>,
    /// Grants that it did not open since the start.
    pub failures: u64,
}

/// Protection by the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Protection {
    /// Extent of the rules.
    pub mode: Mode,
    /// Look of a hidden port.
    pub hide: Hide,
    /// The rules are in the kernel, and strangers come in where they hide.
    pub in_force: bool,
    /// Sentences about interfaces of the configuration that are of no use.
    #[serde(default)]
    pub useless_interfaces: Vec<String>,
    /// Services that strangers may reach, or that a grant does not open.
    #[serde(default)]
    pub reach: Vec<Reach>,
}

/// The server's clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClockState {
    /// Time of the clock.
    pub ms: u64,
    /// Something keeps it; `None` where that cannot be known.
    pub synchronised: Option<bool>,
}

/// End of the last reload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReloadState {
    /// When it was.
    pub ms: u64,
    /// It is in force.
    pub ok: bool,
    /// The reason of a refusal.
    pub error: Option<String>,
    /// Exit code of a refusal.
    pub exit_code: Option<u8>,
}

/// The trial that runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TrialStatus {
    /// Number of the trial.
    pub number: u64,
    /// User id of who began it.
    pub by: u32,
    /// Time until the rollback, rounded up.
    pub left_s: u64,
    /// It cannot be confirmed any more, or not yet.
    pub rolls_back: bool,
}

/// The rollback of a trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RollbackState {
    /// When it was.
    pub ms: u64,
    /// The kernel was read back and has the old rules.
    pub verified: bool,
    /// `restart` or `not-confirmed`.
    pub why: String,
}

/// Packets since the start, by where they ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PacketCounts {
    /// All datagrams.
    pub all: u64,
    /// Packets that no key of ours made.
    pub strangers: u64,
    /// Packets of spent sessions.
    pub replayed: u64,
    /// Packets that the capture lost.
    pub lost: u64,
    /// Packets for no address of this host, or from none of another.
    #[serde(default)]
    pub wrong_address: u64,
    /// Packets at the port of another stage.
    pub wrong_port: u64,
    /// Packets above a client's budget.
    pub over_budget: u64,
    /// Packets that could not be opened.
    pub not_authentic: u64,
    /// Packets with a wrong signature.
    pub bad_signature: u64,
    /// Duplicates, late and foreign packets of sessions in progress.
    pub ignored: u64,
    /// Stage packets that were accepted.
    pub stages: u64,
}

/// Knocks since the start, by their end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct KnockCounts {
    /// Those that opened.
    pub granted: u64,
    /// Those that policy refused.
    pub denied: u64,
    /// Those outside the window or behind the fence.
    pub stale: u64,
    /// Those that failed for firewall or store.
    pub failed: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}
