//! The audit record: which grants there were, whose, from where, until when, how much used, and who
//! ended them.
//!
//! A file of its own beside the replay record, written by a thread of its own: whatever becomes of
//! it, no knock waits for it, none is refused for it, and the replay record never shares a page, a
//! lock or an error with it.

mod fault;
mod file;
mod thread;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use file::{AuditError, AuditFile, read};
pub use thread::{Answer, AuditLog};

use crate::domain::grant::GrantId;
use crate::domain::grant::RevokeReason;

/// Entries of a page at most: with the longest names they fit into a line of the control socket.
pub const MAX_PAGE_ENTRIES: usize = 200;

/// Who ended a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum EndedBy {
    /// The time of the grant was over.
    Expired,
    /// The client, by a signed close.
    Client,
    /// An administrator with this user id.
    Uid(u32),
    /// A reload took away what it stood on.
    Reload(RevokeReason),
    /// Nobody saw it: it ended, by its time at the latest, while no server ran.
    Unknown,
}

const REVOKE_REASONS: [RevokeReason; 3] =
    [RevokeReason::Client, RevokeReason::Service, RevokeReason::Right];

impl fmt::Display for EndedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("expired"),
            Self::Client => f.write_str("client"),
            Self::Uid(uid) => write!(f, "uid:{uid}"),
            Self::Reload(gone) => f.write_str(gone.word()),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl FromStr for EndedBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "expired" => Ok(Self::Expired),
            "client" => Ok(Self::Client),
            "unknown" => Ok(Self::Unknown),
            other => {
                let uid =
                    other.strip_prefix("uid:").and_then(|uid| uid.parse().ok()).map(Self::Uid);
                let gone =
                    REVOKE_REASONS.into_iter().find(|gone| gone.word() == other).map(Self::Reload);
                uid.or(gone).ok_or_else(|| format!("`{}` ends no grant", other.escape_debug()))
            }
        }
    }
}

impl From<EndedBy> for String {
    fn from(by: EndedBy) -> Self {
        by.to_string()
    }
}

impl TryFrom<String> for EndedBy {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The end of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct End {
    /// When, unix milliseconds; for [`EndedBy::Unknown`] the latest moment.
    pub ended_ms: u64,
    /// By whom.
    pub ended_by: EndedBy,
}

/// One grant from its opening to its end. In the file, on the control socket and for `--json` it is
/// the same JSON object; a field that is not there is unknown or has not happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// Number of the grant.
    #[serde(with = "grant_text")]
    pub grant: GrantId,
    /// Whose knock opened it.
    pub client: String,
    /// The user id of the administrator who opened it; `None`: a knock did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_by: Option<u32>,
    /// Name of the service that it opened.
    pub service: String,
    /// Who could pass.
    pub network: IpNet,
    /// When it was opened, unix milliseconds.
    pub opened_ms: u64,
    /// When it ends or would have ended by its time, after the last renewal, unix milliseconds.
    pub until_ms: u64,
    /// For how many seconds the client asked at last, when it named a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_s: Option<u64>,
    /// For how many seconds it was granted at last.
    pub ttl_s: u64,
    /// Number of renewals.
    #[serde(default)]
    pub renewed: u32,
    /// First packets of flows that it let in, by the kernel's counter; at least so many when its
    /// end was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// Grants of the same holder before this one that have no entry: there were too many in too
    /// short a time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
    /// End of the grant; `None`: it is open.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
}

/// When it was opened and its number: the order of the record.
pub type AuditKey = (u64, u64);

impl Entry {
    /// Place of the entry in the record.
    #[must_use]
    pub fn key(&self) -> AuditKey {
        (self.opened_ms, self.grant.0)
    }

    /// Until when it let somebody in, unix milliseconds.
    #[must_use]
    pub fn last_ms(&self) -> u64 {
        self.end.map_or(self.until_ms, |end| end.ended_ms)
    }
}

/// Bounds of the record; whatever is beyond goes, the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Since the opening.
    pub keep: Duration,
    /// Number of entries.
    pub max_entries: u32,
}

/// Question to the record: an entry must match all parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AuditQuery {
    /// Grants of this client only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Grants for this service only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Grants that were open at this moment or later, unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// Entries before this one: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<AuditKey>,
    /// So many entries at most; a page has [`MAX_PAGE_ENTRIES`] at most anyway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl AuditQuery {
    fn matches_entry(&self, entry: &Entry) -> bool {
        self.client.as_ref().is_none_or(|client| *client == entry.client)
            && self.service.as_ref().is_none_or(|service| *service == entry.service)
            && self.since_ms.is_none_or(|since| entry.last_ms() >= since)
    }
}

/// Entries, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Those that were asked for.
    pub entries: Vec<Entry>,
    /// There may be more: ask again for those before this one.
    pub next: Option<AuditKey>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

mod grant_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::domain::grant::GrantId;

    /// Writes `g42`.
    pub(super) fn serialize<S: Serializer>(grant: &GrantId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(grant)
    }

    /// Reads `g42`.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<GrantId, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
