//! Bodies of the responses, one structure per command but `status`, as the server writes them and
//! the command line reads them. Times that end in `-ms` are unix milliseconds, those in
//! `-s` seconds.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::domain::grant::alone;
use crate::firewall::{Authenticated, Ban, LiveGrant};

/// Response to `confirm` and `cancel`: nothing but `ok`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Done {}

/// Response to `accept-clock`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClockAccepted {
    /// Time until knocks are taken.
    pub wait_s: u64,
}

/// Change of the server's key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServerKeyChange {
    /// Fingerprint of the new key.
    pub fingerprint: String,
    /// End of the previous key.
    pub previous_until_ms: Option<u64>,
    /// Clients that came by the new key last.
    pub new: u64,
    /// Clients that came by the previous key last.
    pub previous: u64,
    /// Clients that were not seen since.
    pub not_seen: u64,
}

/// Response to `reload`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReloadDone {
    /// Number of enrolled clients.
    pub clients: u64,
    /// Settings that wait for a restart.
    pub note: Option<String>,
}

/// Response to `try`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TrialBegun {
    /// Number of enrolled clients.
    pub clients: u64,
    /// Settings that wait for a restart.
    pub note: Option<String>,
    /// Time until the rollback.
    pub trial_s: u64,
    /// Number of the trial.
    pub trial: u64,
}

/// Response to `grants`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GrantList {
    /// The live grants, by client, service and source.
    pub grants: Vec<GrantRow>,
}

/// A live grant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GrantRow {
    /// Number, as `g42`.
    pub grant: String,
    /// Name of the client.
    pub client: String,
    /// Name of the service.
    pub service: String,
    /// The address that may pass.
    pub source: IpAddr,
    /// Leading bits of it that count.
    pub prefix: u8,
    /// The time that it was given.
    pub ttl_s: u64,
    /// The time that is left.
    pub left_s: u64,
    /// Connections that it let in; `None` where nobody counts.
    pub used: Option<u64>,
}

/// Response to `open`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GrantOpened {
    /// Number, as `g42`.
    pub grant: String,
    /// Name that stands for an administrator.
    pub client: String,
    /// Name of the service.
    pub service: String,
    /// The address that may pass.
    pub source: IpAddr,
    /// The time that it was given.
    pub ttl_s: u64,
    /// It was open already.
    pub renewed: bool,
}

/// Response to `close`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GrantsClosed {
    /// The grants that were closed.
    pub closed: Vec<ClosedGrant>,
}

/// A grant that was closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClosedGrant {
    /// Number, as `g42`.
    pub grant: String,
    /// Name of the client.
    pub client: String,
    /// Name of the service.
    pub service: String,
    /// The address that could pass.
    pub source: IpAddr,
}

/// Response to `bans`: a page of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BanList {
    /// The bans, by network.
    pub bans: Vec<BanRow>,
    /// Number of all bans.
    pub all: u64,
    /// Another page follows behind this network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<IpNet>,
}

/// A ban.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BanRow {
    /// The network.
    pub network: IpNet,
    /// The time that is left.
    pub left_s: u64,
}

/// Response to `ban`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Banned {
    /// The network.
    pub network: IpNet,
    /// The time that it was given.
    pub time_s: u64,
    /// Numbers of the grants that its addresses have open.
    pub grants: Vec<String>,
    /// Effect of a knock from there.
    pub authenticated: Authenticated,
}

/// Response to `unban`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BansLifted {
    /// The networks.
    pub lifted: Vec<IpNet>,
    /// Number of bans that are to be lifted yet.
    pub left: u64,
}

/// Response to `clients`: a page of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClientList {
    /// The clients, in the order of their file.
    pub clients: Vec<ClientRow>,
    /// Change of the server's key, while it has two.
    pub key_change: Option<ServerKeyChange>,
    /// Number of all clients.
    pub all: u64,
    /// Another page follows behind this client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The server's time.
    pub now_ms: u64,
}

/// An enrolled client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClientRow {
    /// Name.
    pub name: String,
    /// Fingerprint of the public key.
    pub fingerprint: String,
    /// `ed25519` or `security-key`.
    pub kind: String,
    /// Which keys may take the place of its own: `never`, `refresh`, `same-kind` or `any`.
    pub rotate: String,
    /// Names of the services that it may open.
    pub services: Vec<String>,
    /// Networks that it may knock from; empty: all.
    pub from: Vec<IpNet>,
    /// Hours in which it may knock.
    pub hours: Option<String>,
    /// End of its enrolment.
    pub expires_ms: Option<u64>,
    /// Most grants at a time.
    pub max_grants: Option<u32>,
    /// Number of its live grants.
    pub grants: u64,
    /// The last knock that opened.
    pub last: Option<LastKnock>,
    /// `new` or `previous`: the server's key by which it came last, while there are two.
    pub server_key: Option<String>,
}

/// The last knock of a client that opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LastKnock {
    /// When it was.
    pub ms: u64,
    /// Address that it came from.
    pub source: IpAddr,
    /// Name of the service.
    pub service: Option<String>,
}

/// Response to `explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explained {
    /// Name of the client.
    pub client: String,
    /// Name of the service.
    pub service: String,
    /// Address that it would knock from.
    pub from: Option<IpAddr>,
    /// Address that it would ask to open for.
    #[serde(rename = "for")]
    pub wanted: Option<IpAddr>,
    /// Time that it would ask for.
    pub asked_ttl_s: Option<u64>,
    /// Addresses that it would be open for.
    pub network: Option<IpNet>,
    /// Moment of the knock.
    pub at_ms: u64,
    /// The same in the server's time zone.
    pub at: String,
    /// It would open.
    pub would_open: bool,
    /// Name of the rule that says no.
    pub refused_by: Option<String>,
    /// Time that it would be open.
    pub ttl_s: Option<u64>,
    /// The rules in their order.
    pub rules: Vec<RuleRow>,
    /// The last knocks of the client, the newest first.
    pub knocks: Vec<KnockRow>,
    /// The server's time.
    pub now_ms: u64,
}

/// A rule's verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RuleRow {
    /// Name of the rule.
    pub rule: String,
    /// `yes`, `no` or `depends`.
    pub says: String,
    /// The reason.
    pub why: String,
}

/// A knock of the past.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct KnockRow {
    /// When it was.
    pub ms: u64,
    /// The same in the server's time zone.
    pub when: String,
    /// Outcome, as the log names it.
    pub event: String,
    /// Address that it came from.
    pub source: IpAddr,
    /// Name of the service.
    pub service: Option<String>,
    /// The reason of a refusal.
    pub reason: Option<String>,
    /// The client's clock minus ours; `None` for an administrator.
    pub skew_ms: Option<i64>,
    /// Number of the grant, as `g42`.
    pub grant: Option<String>,
    /// More about the reason.
    pub detail: Option<String>,
    /// User id of the administrator who did it.
    pub by: Option<u32>,
}

/// Response to `metrics`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MetricsText {
    /// Prometheus text.
    pub text: String,
}

impl GrantRow {
    /// The address that may pass, or the network where more than one may.
    #[must_use]
    pub fn network_text(&self) -> String {
        if self.prefix == alone(self.source) {
            self.source.to_string()
        } else {
            format!("{}/{}", self.source, self.prefix)
        }
    }
}

impl From<&LiveGrant> for GrantRow {
    fn from(live: &LiveGrant) -> Self {
        let grant = &live.grant;
        Self {
            grant: grant.id.to_string(),
            client: grant.client.to_string(),
            service: grant.service.to_string(),
            source: grant.source,
            prefix: grant.prefix,
            ttl_s: grant.ttl.as_secs(),
            left_s: live.left.as_secs(),
            used: live.used,
        }
    }
}

impl From<&Ban> for BanRow {
    fn from(ban: &Ban) -> Self {
        Self { network: ban.network, left_s: ban.left.as_secs() }
    }
}
